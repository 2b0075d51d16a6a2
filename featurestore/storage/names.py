"""Names of tables, backbones and views: validation (also of untrusted records), suggestions for typos, SQL quoting."""

import re
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from featurestore.errors import InputError, IntegrityError
from featurestore.errors import alike as alike
from featurestore.errors import nearest as nearest

# Prefixes of the views and macros of each backbone.
OF_BACKBONE = ("embeddings", "labeled")
MAX_LENGTH = 63
# Folders of a store that are not tables.
RESERVED = frozenset({"cache", "manifests", "snapshots", "staging"})
IDENTIFIER = rf"[a-z_][a-z0-9_]{{0,{MAX_LENGTH - 1}}}"
# The names that this package creates: they become parts of paths, so records with any other name are refused.
OWN_TABLE = rf"(?!(?:{'|'.join(sorted({*RESERVED, 'embeddings'}))})\b){IDENTIFIER}"
VECTORS_TABLE = rf"embeddings/backbone={IDENTIFIER}/revision=[0-9a-f]{{16}}"
RECORDED = {
    "table": re.compile(rf"{OWN_TABLE}|{VECTORS_TABLE}"),
    "manifest": re.compile(r"[0-9a-f]{64}"),
    "collection": re.compile(IDENTIFIER),
    "backbone": re.compile(IDENTIFIER),
    "revision": re.compile(r"[0-9a-f]{16}"),
    "part": re.compile(rf"(?:{OWN_TABLE}|{VECTORS_TABLE})/part-[0-9a-f]{{32}}\.parquet"),
    "part file": re.compile(r"part-[0-9a-f]{32}\.parquet"),
    "snapshot": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"),
}


class OwnNames(NamedTuple):
    """The names of the tables and views that every store of one collection type has."""

    tables: Sequence[str]
    views: Sequence[str]


def embeddings_key(backbone: str, revision: str) -> str:
    """The table name of the vectors of one ``revision`` of ``backbone``, also the folder of its parts."""
    return f"embeddings/backbone={backbone}/revision={revision}"


def revision_of(key: str) -> tuple[str, str] | None:
    """The backbone and revision of a table name from `embeddings_key`; None for other tables."""
    folders = key.split("/")
    return (folders[1].partition("=")[2], folders[2].partition("=")[2]) if len(folders) == 3 else None


def check_names(tables: Iterable[str], backbones: Iterable[str], views: Iterable[str], *, own: OwnNames) -> None:
    """Refuse a state whose tables, backbones and users' views would give two views the same name.

    ``own`` are the names of the store itself.

    Raises
    ------
    InputError
        With the name, and what uses it.
    """
    taken = dict.fromkeys([*own.tables, *own.views], "a view of the store itself")

    def take(name: str, owner: str) -> None:
        if name in taken:
            raise InputError(f"the name {name!r} can't be that of {taken[name]} and of {owner} too: use another name")
        taken[name] = owner

    for table in {table for table in tables if revision_of(table) is None}.difference(own.tables):
        take(table, f"the table {table!r}")
    for backbone in set(backbones):
        for what in OF_BACKBONE:
            take(f"{what}_{backbone}", f"the backbone {backbone!r}")
    for view in set(views):
        take(view, f"the view {view!r}")


def misnamed(
    tables: Collection[str], backbones: Collection[str], views: Iterable[str], *, own: OwnNames
) -> dict[str, str]:
    """The users' ``views`` of a state with invalid names, each with the reason: a record was edited by hand."""
    wrong = {}
    for view in views:
        try:
            check_identifier(view, "view")
            check_names(tables, backbones, [view], own=own)
        except InputError as error:
            wrong[view] = str(error)
    return wrong


def well_named(
    tables: Collection[str], backbones: Collection[str], views: Collection[str], *, own: OwnNames
) -> list[str]:
    """``views`` without the `misnamed` ones, which are never created and so can't conflict."""
    wrong = misnamed(tables, backbones, views, own=own)
    return [view for view in views if view not in wrong]


def check_identifier(name: str, what: str) -> None:
    """Refuse an invalid name of ``what``: a backbone, a table or a view.

    Raises
    ------
    InputError
        When ``name`` is not a lower-case identifier of at most `MAX_LENGTH` characters.
    """
    if not (name.isidentifier() and name.isascii() and name == name.lower() and len(name) <= MAX_LENGTH):
        raise InputError(
            f"got the {what} name {name[:80]!r}, expected lower-case letters, digits and _, at most {MAX_LENGTH}"
        )


@cache
def core_views() -> tuple[str, ...]:
    """The views of every store besides its tables: one per SQL file, with the name of the file."""
    folder = files("featurestore").joinpath("catalog/sql/views")
    return tuple(sorted(file.name.removesuffix(".sql") for file in folder.iterdir() if file.name.endswith(".sql")))


def check_recorded(kind: str, name: object, where: str) -> str:
    """Validate ``name`` from the record ``where``: it must be one that this package creates for a ``kind``.

    Every name from a state, snapshot, manifest, cache or listing is validated here before it becomes part of a path.

    Raises
    ------
    IntegrityError
        When it is not valid; the message quotes it.
    """
    if not isinstance(name, str) or not RECORDED[kind].fullmatch(name):
        raise IntegrityError(
            f"{where} is damaged: it names the {kind} {str(name)[:100]!r}, which is invalid; restore it from a copy"
        )
    return name


def inside(root: Path, path: Path) -> Path:
    """Return ``path``, which must be inside ``root`` after all symbolic links are resolved.

    Raises
    ------
    IntegrityError
        When it is outside.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise IntegrityError(f"{str(path)!r} leads out of {str(root)!r}: replace links in the store by the files")
    return path


def quote_name(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
