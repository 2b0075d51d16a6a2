"""Which SQL of a user may run: one SELECT over the store's views, with functions that only compute (`functions`)."""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache, partial
from typing import Any

import duckdb

from featurestore.catalog.duckdb_errors import interruptible, place, shortened, words
from featurestore.catalog.failing import FailingView, Failure, list_views
from featurestore.catalog.functions import (
    ALLOWED,
    ALLOWED_TABLES,
    REFUSED,
    REFUSED_TABLES,
    VARYING,
    VARYING_COLUMNS,
    among,
)
from featurestore.errors import QueryError
from featurestore.storage.names import alike, nearest

# What SHOW may show.
SHOWN = frozenset({"tables"})
# Views that other views stand on: they can be read, but nobody needs to know of them.
INTERNAL = "_parts_"
CTE_NAME = re.compile(r"[\w ]+")
VARIES = "which gives something else at each call: a view must give the same rows, leave it out"


@interruptible()
def guard(connection: duckdb.DuckDBPyConnection, query: str, *, stored: bool = False) -> None:
    """Refuse ``query`` unless it is one SELECT over the views and macros of ``connection`` and what only computes.

    Parameters
    ----------
    stored
        Whether it is to become a view: then it must not give other rows at each call either.

    Raises
    ------
    FailingView
        When it uses a view that can't be made.
    QueryError
        With what was refused.
    """
    tree = _parse(connection, query)
    views = list_views(connection)
    names = _cte_names(connection, tree)
    macros = cache(partial(_own_macros, connection))  # 20 ms, which most queries don't need
    in_from = {id(node.get("function")) for node in _nodes(tree) if node.get("type") == "TABLE_FUNCTION"}
    for node in _nodes(tree):
        if node.get("type") == "BASE_TABLE":
            _refuse_table(node, views, names)
        elif node.get("type") == "SHOW_REF":
            _refuse_show(node, views, names)
        elif "function_name" in node:
            _refuse_function(node, macros, in_from=id(node) in in_from, stored=stored)
        if stored:
            _refuse_varying(node)


@interruptible()
def check_condition(connection: duckdb.DuckDBPyConnection, condition: str) -> None:
    """Refuse text that is more than one expression, such as one that closes the bracket it will stand in.

    Raises
    ------
    QueryError
        When it is none, or more than one.
    """
    given, plain = (_parse(connection, f"SELECT ({text}\n)")["statements"][0]["node"] for text in (condition, "true"))
    if len(given.pop("select_list", ())) != 1 or given != {
        name: plain[name] for name in plain if name != "select_list"
    }:
        raise QueryError("it is not one condition: write what may stand behind WHERE, and no other part of a query")


def _parse(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    try:
        [(text,)] = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {words(error)}") from error
    try:
        tree = json.loads(text)
    except RecursionError as error:
        raise QueryError("the query is nested too deeply: break it up with WITH") from error
    if tree.get("error"):
        message = shortened(" ".join(str(tree.get("error_message", "")).split()) or "it can't be parsed")
        if tree.get("error_type") == "not implemented":  # all else that can be parsed
            message = "only SELECT can be run here, the store is read-only"
        raise QueryError(f"the query failed: {message}{place(tree, query)}")
    if len(tree.get("statements", [])) != 1:
        raise QueryError(f"got {len(tree.get('statements', []))} statements, expected one SELECT")
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree, whatever its depth."""
    left = [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _own_macros(connection: duckdb.DuckDBPyConnection) -> dict[str, set[str]]:
    """The macros that the store made: for each type, ``macro`` and ``table_macro``, their names in lower case."""
    rows = connection.execute(
        "SELECT function_type, lower(function_name) FROM duckdb_functions() WHERE NOT internal"
    ).fetchall()
    return {kind: {name for of, name in rows if of == kind} for kind in ("macro", "table_macro")}


def _folded(name: object) -> str:
    """``name`` as DuckDB compares it: of letters that are not ASCII, it takes none for another."""
    return str(name).lower() if str(name).isascii() else str(name)


def _refuse_function(
    node: dict[str, Any], macros: Callable[[], Mapping[str, Collection[str]]], *, in_from: bool, stored: bool
) -> None:
    """Refuse a function by its name alone: one in another schema, or a method of a value, has the same rights."""
    name = _folded(node["function_name"])
    known, kind = (ALLOWED_TABLES, "table_macro") if in_from else (ALLOWED, "macro")
    if among(name, known):
        return
    what = f"the query uses the {'table ' if in_from else ''}function {shortened(name, 80)!r}"
    if not in_from and name in VARYING:
        if stored:
            raise QueryError(f"{what}, {VARIES}")
        return
    if among(name, REFUSED_TABLES if in_from else REFUSED):
        raise QueryError(f"{what}, which does more than compute: leave it out")
    if name in macros()[kind]:
        return
    usable = [other for other in (*known, *macros()[kind]) if other[0].isalpha() and not other.endswith("%")]
    raise QueryError(f"{what}, which is none of those that a query can use: {alike(name, usable) or 'leave it out'}")


def _refuse_varying(node: dict[str, Any]) -> None:
    """Refuse in a view what has no function's name and gives other rows at each call."""
    sample = node.get("sample")
    if isinstance(sample, dict) and not sample.get("repeatable"):
        raise QueryError(f"the query takes a sample, {VARIES}; for a sample, write REPEATABLE (1) behind it")
    if node.get("type") == "COLUMN_REF" and len(node["column_names"]) == 1:
        name = _folded(node["column_names"][0])
        if name in VARYING_COLUMNS:
            raise QueryError(f"the query uses {name!r}, {VARIES}; for a column, write its table before it")


def _cte_names(connection: duckdb.DuckDBPyConnection, tree: Any) -> set[str]:
    """The names of the common table expressions of a query, in lower case.

    Such a name is readable wherever the query uses it, also where the expression itself is out of scope: there it must
    mean nothing, neither a file nor a table of the system.
    """
    entries = [entry for node in _nodes(tree) for entry in (node.get("cte_map") or {}).get("map") or []]
    names = {_folded(entry["key"]) for entry in entries}
    if not names:
        return names
    system = connection.execute(
        "SELECT lower(view_name) FROM duckdb_views() WHERE internal AND schema_name <> 'information_schema'"
    ).fetchall()
    for name in sorted(names):
        if not CTE_NAME.fullmatch(name) or (name,) in system:
            raise QueryError(f"the query calls a part of itself {name!r}, a name of a file or of the system: rename it")
    return names


def _refuse_show(node: dict[str, Any], views: Mapping[str, Failure | None], names: set[str]) -> None:
    """Refuse what SHOW, DESCRIBE or SUMMARIZE has instead of a query, unless it is a view or one of `SHOWN`."""
    if node.get("query"):
        return
    name = str(node.get("table_name", "")).strip('"')
    elsewhere = [str(node[key]) for key in ("catalog_name", "schema_name") if node.get(key)]
    if elsewhere:
        raise QueryError(f"the query shows {'.'.join(elsewhere)[:200]!r}: only SHOW TABLES can be used here")
    if name.lower() not in SHOWN:
        _refuse_table({**node, "table_name": name}, views, names)


def _refuse_table(node: dict[str, Any], views: Mapping[str, Failure | None], names: set[str]) -> None:
    """Refuse a name that is no view: it would be taken for a file, or for a table of the system."""
    name = _folded(node.get("table_name", ""))
    elsewhere = node.get("catalog_name") or str(node.get("schema_name") or "main").lower() != "main"
    if elsewhere or (name not in views and name not in names):
        seen = [view for view in views if not view.startswith(INTERNAL)]
        asked = shortened(str(node.get("table_name", "")), 200)
        raise QueryError(
            f"the query reads {asked!r}: only the store's own views can be read ({nearest(name, {*seen, *names})})"
        )
    failure = None if name in names else views[name]
    if failure is not None:
        raise FailingView(name, failure)
