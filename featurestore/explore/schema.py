"""Lists what a query can name: tables, views and functions, each with one line about it and its columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from featurestore.catalog.definitions import Definitions, Own, define
from featurestore.catalog.package_tables import package_tables
from featurestore.catalog.recipe import NEEDED_VIEWS, find_recipe
from featurestore.catalog.scans import TableScan

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader

# The tables of the store itself; what else there is says it at the head of its SQL.
TABLES = {
    "images": "Every image file: its name, size and checksum, where it lies, and why it was refused if it was.",
    "backbones": "Each revision of each backbone: length of its vectors, weights, preprocessing and libraries.",
    "extractions": "When, with what and on what kind of machine vectors were computed.",
    "corrections": "The corrections of labels, undone ones too; `collection` and `labeled` show those in force.",
    "selections": "The images of each selection that was saved in the explorer.",
    "projections": "The maps of embeddings that `featurestore project` made.",
    "embeddings": "All vectors of all revisions, those of removed images too; usually you want embeddings_NAME.",
}


@dataclass(frozen=True)
class ViewInfo:
    """Something that a query can name.

    Parameters
    ----------
    kind
        ``table``, ``view``, ``own view`` for a view of the user, or ``function``.
    about
        One line; for a user's view its SQL, or why it can't be used. Empty if nothing is known.
    columns
        The SQL type of each column, in order. For a function that is used in FROM, its result is a table with columns
        that only a query tells: they are left out.
    """

    name: str
    kind: Literal["table", "view", "own view", "function"]
    about: str
    columns: Mapping[str, str]


def list_views(reader: "Reader") -> list[ViewInfo]:
    """See `FeatureStore.schema`."""
    with reader.reading() as seen:
        return list(_listed(seen))


def _listed(reader: "Reader") -> Iterator[ViewInfo]:
    definitions = define(reader.layout)
    columns: dict[str, dict[str, str]] = {}
    for row in reader.query(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
    ).to_pylist():
        columns.setdefault(row["table_name"], {})[row["column_name"]] = row["data_type"]
    abouts = _abouts(definitions)
    recipe = find_recipe(reader.state.collection)
    tables = dict.fromkeys([*reader.layout.tables, *([recipe.table] if recipe else [])])
    views = [name for kind, name in definitions.own if kind == "view" and name not in tables]
    for name in tables:
        yield ViewInfo(name, "table", abouts.get(name, ""), columns.get(name, {}))
    for name in dict.fromkeys([*NEEDED_VIEWS, *views]):
        yield ViewInfo(name, "view", abouts.get(name, ""), columns.get(name, {}))
    failing = reader.failing_views
    for name, query in definitions.users.items():
        yield ViewInfo(name, "own view", failing.get(name, " ".join(query.split())), columns.get(name, {}))
    found = reader.query("SELECT function_name, parameters FROM duckdb_functions() WHERE NOT internal").to_pylist()
    parameters = {row["function_name"]: ", ".join(row["parameters"]) for row in found}
    for kind, name in definitions.own:
        if kind == "macro":
            yield ViewInfo(f"{name}({parameters.get(name, '')})", "function", abouts[name], {})


def _abouts(definitions: Definitions) -> dict[str, str]:
    """One line on each table, view and function that is not the user's."""
    theirs = {name: table.about for name, table in package_tables().items()}
    own = {name: _headline(found) for (_, name), found in definitions.own.items()}
    return {name: line or TABLES.get(name) or theirs.get(name, "") for name, line in own.items()}


def _headline(found: Own | TableScan) -> str:
    """The first line of the comment at the head of an SQL text; empty without one."""
    first = (found.shown if isinstance(found, TableScan) else found.text).partition("\n")[0]
    return first.removeprefix("--").strip() if first.startswith("--") else ""
