"""Which SQL of a user may run: one SELECT over the store's views, with functions that only compute (`functions`)."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import duckdb

from featurestore.catalog.duckdb_errors import shortened
from featurestore.catalog.functions import (
    ALLOWED,
    ALLOWED_TABLES,
    REFUSED,
    REFUSED_TABLES,
    VARYING,
    VARYING_COLUMNS,
    among,
)
from featurestore.catalog.parse import folded, in_from, is_elsewhere, nodes, parse, part_names, shown_name
from featurestore.errors import QueryError
from featurestore.storage.names import alike, nearest

# What SHOW may show.
SHOWN = frozenset({"tables"})
# Views that other views stand on: they can be read, but nobody needs to know of them.
INTERNAL = "_parts_"
PART_NAME = re.compile(r"[\w ]+")
VARIES = "which gives something else at each call: a view must give the same rows, leave it out"


@dataclass(frozen=True)
class Readable:
    """What a query may name besides the functions of DuckDB that only compute, in lower case.

    Parameters
    ----------
    views
        The store's own and the user's.
    macros, table_macros
        The store's own, in an expression and behind FROM.
    """

    views: Collection[str]
    macros: Collection[str]
    table_macros: Collection[str]


def guard(connection: duckdb.DuckDBPyConnection, tree: Any, readable: Readable, *, stored: bool = False) -> None:
    """Refuse a query unless it is one SELECT over what is ``readable`` and what only computes.

    Parameters
    ----------
    tree
        Of the query, as `parse` gives it.
    stored
        Whether it is to become a view: then it must not give other rows at each call either.

    Raises
    ------
    QueryError
        With what was refused.
    """
    parts = part_names(tree)
    _refuse_parts(connection, parts)
    behind_from = in_from(tree)
    for node in nodes(tree):
        if node.get("type") == "BASE_TABLE":
            _refuse_table(node, readable.views, parts)
        elif node.get("type") == "SHOW_REF":
            _refuse_show(node, readable.views, parts)
        elif "function_name" in node:
            _refuse_function(node, readable, behind_from=id(node) in behind_from, stored=stored)
        if stored:
            _refuse_varying(node)


def check_condition(connection: duckdb.DuckDBPyConnection, condition: str) -> None:
    """Refuse text that is more than one expression, such as one that closes the bracket it will stand in.

    Raises
    ------
    QueryError
        When it is none, or more than one.
    """
    given, plain = (parse(connection, f"SELECT ({text}\n)")["statements"][0]["node"] for text in (condition, "true"))
    if len(given.pop("select_list", ())) != 1 or given != {
        name: plain[name] for name in plain if name != "select_list"
    }:
        raise QueryError("it is not one condition: write what may stand behind WHERE, and no other part of a query")


def _refuse_function(node: dict[str, Any], readable: Readable, *, behind_from: bool, stored: bool) -> None:
    """Refuse a function by its name alone: one in another schema, or a method of a value, has the same rights."""
    name = folded(node["function_name"])
    known, macros = (ALLOWED_TABLES, readable.table_macros) if behind_from else (ALLOWED, readable.macros)
    if among(name, known):
        return
    what = f"the query uses the {'table ' if behind_from else ''}function {shortened(name, 80)!r}"
    if not behind_from and name in VARYING:
        if stored:
            raise QueryError(f"{what}, {VARIES}")
        return
    if among(name, REFUSED_TABLES if behind_from else REFUSED):
        raise QueryError(f"{what}, which does more than compute: leave it out")
    if name in macros:
        return
    usable = [other for other in (*known, *macros) if other[0].isalpha() and not other.endswith("%")]
    raise QueryError(f"{what}, which is none of those that a query can use: {alike(name, usable) or 'leave it out'}")


def _refuse_varying(node: dict[str, Any]) -> None:
    """Refuse in a view what has no function's name and gives other rows at each call."""
    sample = node.get("sample")
    if isinstance(sample, dict) and not sample.get("repeatable"):
        raise QueryError(f"the query takes a sample, {VARIES}; for a sample, write REPEATABLE (1) behind it")
    if node.get("type") == "COLUMN_REF" and len(node["column_names"]) == 1:
        name = folded(node["column_names"][0])
        if name in VARYING_COLUMNS:
            raise QueryError(f"the query uses {name!r}, {VARIES}; for a column, write its table before it")


def _refuse_parts(connection: duckdb.DuckDBPyConnection, parts: Collection[str]) -> None:
    """Refuse a common table expression with a name of a file or of the system.

    Such a name is readable wherever the query uses it, also where the expression itself is out of scope: there it must
    mean nothing, neither a file nor a table of the system.
    """
    if not parts:
        return
    system = connection.execute(
        "SELECT lower(view_name) FROM duckdb_views() WHERE internal AND schema_name <> 'information_schema'"
    ).fetchall()
    for name in sorted(parts):
        if not PART_NAME.fullmatch(name) or (name,) in system:
            raise QueryError(f"the query calls a part of itself {name!r}, a name of a file or of the system: rename it")


def _refuse_show(node: dict[str, Any], views: Collection[str], parts: Collection[str]) -> None:
    """Refuse what SHOW, DESCRIBE or SUMMARIZE has instead of a query, unless it is a view or one of `SHOWN`."""
    if node.get("query"):
        return
    name = shown_name(node)
    elsewhere = [str(node[key]) for key in ("catalog_name", "schema_name") if node.get(key)]
    if elsewhere:
        raise QueryError(f"the query shows {'.'.join(elsewhere)[:200]!r}: only SHOW TABLES can be used here")
    if name.lower() not in SHOWN:
        _refuse_table({**node, "table_name": name}, views, parts)


def _refuse_table(node: dict[str, Any], views: Collection[str], parts: Collection[str]) -> None:
    """Refuse a name that is no view: it would be taken for a file, or for a table of the system."""
    name = folded(node.get("table_name", ""))
    if is_elsewhere(node) or (name not in views and name not in parts):
        seen = [view for view in views if not view.startswith(INTERNAL)]
        asked = shortened(str(node.get("table_name", "")), 200)
        raise QueryError(
            f"the query reads {asked!r}: only the store's own views can be read ({nearest(name, {*seen, *parts})})"
        )
