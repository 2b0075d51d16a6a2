"""One namespace for all views of a store: its own, those of backbones, of tables and of users; no two may meet."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from featurestore.errors import InputError
from featurestore.schemas import CORE_TABLES
from featurestore.state import State

# Folders of the store that are no tables.
FOLDERS = frozenset({"cache", "staging", "snapshots"})


def check_names(state: State) -> None:
    """Refuse a state in which two views have one name: such a store could not be opened.

    Raises
    ------
    InputError
        With the name, and whose it is.
    """
    owners: dict[str, list[str]] = {}
    for name, owner in _views(state):
        owners.setdefault(name, []).append(owner)
    for name, (first, *others) in owners.items():
        if others:
            raise InputError(f"the view {name!r} would be that of {first} and of {others[0]}: use another name")


def check_identifier(name: str, what: str) -> None:
    """Refuse what can't be the name of ``what``.

    Raises
    ------
    InputError
        When ``name`` is no lower-case identifier of at most 64 characters.
    """
    if not (name.isidentifier() and name.isascii() and name == name.lower() and len(name) <= 64):
        raise InputError(f"got the {what} name {name!r}, expected lower-case letters, digits and _, 64 at most")


def _views(state: State) -> Iterator[tuple[str, str]]:
    """Every view of ``state`` with its owner."""
    for name in _own():
        yield name, "the store itself"
    for backbone in state.revisions:
        for kind in ("embeddings", "labeled", "_parts"):
            yield f"{kind}_{backbone}", f"the backbone {backbone!r}"
    for table in state.tables.keys() - CORE_TABLES.keys():
        yield table, "a table of your own"
    for name in state.views:
        yield name, "a user"


@cache
def _own() -> tuple[str, ...]:
    text = files("featurestore").joinpath("sql/views.sql").read_text("utf-8")
    return (*CORE_TABLES, *re.findall(r"CREATE OR REPLACE VIEW (\w+)", text))
