"""Names: which a table, backbone or view may have, which of a record are believed, what was meant, how SQL quotes."""

import re
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path

from featurestore.errors import InputError, IntegrityError
from featurestore.storage.schemas import CORE_TABLES

# What `catalog` makes of each backbone.
OF_BACKBONE = ("embeddings", "labeled", "_parts")
MAX_LENGTH = 63
# Folders of a store that hold no table.
RESERVED = frozenset({"cache", "manifests", "snapshots", "staging"})
IDENTIFIER = rf"[a-z_][a-z0-9_]{{0,{MAX_LENGTH - 1}}}"
# The names that this package gives: each becomes a part of a path, so that no record may hold any other.
OWN_TABLE = rf"(?!(?:{'|'.join(sorted({*RESERVED, 'embeddings'}))})\b){IDENTIFIER}"
VECTORS_TABLE = rf"embeddings/backbone={IDENTIFIER}/revision=[0-9a-f]{{16}}"
RECORDED = {
    "table": re.compile(rf"{OWN_TABLE}|{VECTORS_TABLE}"),
    "manifest": re.compile(r"[0-9a-f]{64}"),
    "collection": re.compile(IDENTIFIER),
    "backbone": re.compile(IDENTIFIER),
    "revision": re.compile(r"[0-9a-f]{16}"),
    "part": re.compile(rf"(?:{OWN_TABLE}|{VECTORS_TABLE})/part-[0-9a-f]{{32}}\.parquet"),
    "snapshot": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"),
}
# So many names are listed to someone who used another.
LISTED = 20


def embeddings_key(backbone: str, revision: str) -> str:
    """The table of the vectors of one ``revision`` of ``backbone``: the folder of its parts too."""
    return f"embeddings/backbone={backbone}/revision={revision}"


def revision_of(key: str) -> tuple[str, str] | None:
    """The backbone and revision of a table as `embeddings_key` names it; None of another table."""
    folders = key.split("/")
    return (folders[1].partition("=")[2], folders[2].partition("=")[2]) if len(folders) == 3 else None


def check_names(tables: Iterable[str], backbones: Iterable[str], views: Iterable[str]) -> None:
    """Refuse a state whose tables, backbones and users' views would name two views alike.

    Raises
    ------
    InputError
        With the name, and what has it.
    """
    taken = dict.fromkeys([*CORE_TABLES, *own_views()], "a view of the store itself")

    def take(name: str, owner: str) -> None:
        if name in taken:
            raise InputError(f"the name {name!r} can't be that of {taken[name]} and of {owner} too: use another")
        taken[name] = owner

    for table in {table for table in tables if revision_of(table) is None} - CORE_TABLES.keys():
        take(table, f"the table {table!r}")
    for backbone in set(backbones):
        for what in OF_BACKBONE:
            take(f"{what}_{backbone}", f"the backbone {backbone!r}")
    for view in set(views):
        take(view, f"the view {view!r}")


def misnamed(tables: Collection[str], backbones: Collection[str], views: Iterable[str]) -> dict[str, str]:
    """Those of the users' ``views`` of a state that can't have their names, and why: a record was edited by hand."""
    wrong = {}
    for view in views:
        try:
            check_identifier(view, "view")
            check_names(tables, backbones, [view])
        except InputError as error:
            wrong[view] = str(error)
    return wrong


def well_named(tables: Collection[str], backbones: Collection[str], views: Collection[str]) -> list[str]:
    """``views`` without the `misnamed`, which are never made and so are in nobody's way."""
    wrong = misnamed(tables, backbones, views)
    return [view for view in views if view not in wrong]


def check_identifier(name: str, what: str) -> None:
    """Refuse what can't be the name of ``what``: a backbone, a table or a view.

    Raises
    ------
    InputError
        When ``name`` is no lower-case identifier of at most `MAX_LENGTH` letters.
    """
    if not (name.isidentifier() and name.isascii() and name == name.lower() and len(name) <= MAX_LENGTH):
        raise InputError(
            f"got the {what} name {name[:80]!r}, expected lower-case letters, digits and _, at most {MAX_LENGTH}"
        )


def nearest(name: str, known: Iterable[str]) -> str:
    """What to offer whoever asked for ``name``, which is not among ``known``: those that are spelt alike, or a list."""
    listed = sorted(known)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return alike(name, listed) or f"it has: {', '.join(listed[:LISTED]) or 'none'}{more}"


def alike(name: str, known: Iterable[str]) -> str:
    """``did you mean …?``, where one of ``known`` is spelt like ``name``."""
    spelt = {other.lower(): other for other in known}
    found = get_close_matches(name[:MAX_LENGTH].lower(), spelt, cutoff=0.7)
    return f"did you mean {' or '.join(repr(spelt[other]) for other in found)}?" if found else ""


@cache
def own_views() -> tuple[str, ...]:
    """The views that every store has besides its tables: one a file of SQL, which has its name."""
    folder = files("featurestore").joinpath("catalog/sql/views")
    return tuple(sorted(file.name.removesuffix(".sql") for file in folder.iterdir() if file.name.endswith(".sql")))


def check_recorded(kind: str, name: object, where: str) -> str:
    """``name``, read from the record ``where``, which must be one that this package gives to a ``kind``.

    Whatever comes from a state, a snapshot, a log, a cache or a listing passes here before it becomes part of a path.

    Raises
    ------
    IntegrityError
        When it is none; it is quoted.
    """
    if not isinstance(name, str) or not RECORDED[kind].fullmatch(name):
        raise IntegrityError(
            f"{where} is damaged: it names the {kind} {str(name)[:100]!r}, which no store has; restore it from a copy"
        )
    return name


def inside(root: Path, path: Path) -> Path:
    """``path``, which must lie below ``root`` when every symbolic link on the way is followed.

    Raises
    ------
    IntegrityError
        When it leads elsewhere.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise IntegrityError(f"{str(path)!r} leads out of {str(root)!r}: a store holds all of its files itself")
    return path


def quote_name(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"
