"""Names: which a table, backbone or view may have, which of a record are believed, and how SQL quotes one."""

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

from featurestore.errors import InputError, IntegrityError
from featurestore.schemas import CORE_TABLES

# What `catalog` makes of each backbone.
OF_BACKBONE = ("embeddings", "labeled", "_parts")
MAX_LENGTH = 63
# Folders of a store that hold no table.
RESERVED = frozenset({"cache", "snapshots", "staging"})
IDENTIFIER = rf"[a-z_][a-z0-9_]{{0,{MAX_LENGTH - 1}}}"
# The names that this package gives: each becomes a part of a path, so that no record may hold any other.
RECORDED = {
    "table": re.compile(rf"(?!(?:{'|'.join(sorted(RESERVED))})\Z){IDENTIFIER}"),
    "backbone": re.compile(IDENTIFIER),
    "view": re.compile(IDENTIFIER),
    "revision": re.compile(r"[0-9a-f]{16}"),
    "part": re.compile(rf"(?:{IDENTIFIER}=[a-z0-9_]+/)*part-[0-9a-f]{{32}}\.parquet"),
    "snapshot": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"),
}


def check_names(tables: Iterable[str], backbones: Iterable[str], views: Iterable[str]) -> None:
    """Refuse a state whose tables, backbones and users' views would name two views alike.

    Raises
    ------
    InputError
        With the name, and what has it.
    """
    taken = dict.fromkeys(_own(), "a view of the store itself")

    def take(name: str, owner: str) -> None:
        if name in taken:
            raise InputError(f"the name {name!r} can't be that of {taken[name]} and of {owner} too: use another")
        taken[name] = owner

    for table in set(tables) - CORE_TABLES.keys():
        take(table, f"the table {table!r}")
    for backbone in set(backbones):
        for what in OF_BACKBONE:
            take(f"{what}_{backbone}", f"the backbone {backbone!r}")
    for view in set(views):
        take(view, f"the view {view!r}")


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


@cache
def _own() -> frozenset[str]:
    sql = files("featurestore").joinpath("sql/views.sql").read_text("utf-8")
    return frozenset({*CORE_TABLES, *re.findall(r"^CREATE OR REPLACE VIEW (\w+)", sql, flags=re.M)})


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
