"""Checks a user's SQL: only one SELECT over the store's views is allowed, with functions that only compute."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import duckdb

from featurestore.catalog.duckdb_errors import shortened
from featurestore.catalog.functions import (
    ALLOWED,
    ALLOWED_TABLES,
    BY_NAME,
    REFUSED,
    REFUSED_TABLES,
    VARYING,
    VARYING_COLUMNS,
    among,
)
from featurestore.catalog.kinds import check_kind
from featurestore.catalog.parse import folded, in_from, is_elsewhere, nodes, parse, part_names, shown_name
from featurestore.errors import QueryError
from featurestore.storage.names import alike, nearest

# Arguments of SHOW that are allowed.
SHOWN = frozenset({"tables"})
PART_NAME = re.compile(r"[\w ]+")
VARIES = "which returns something else at each call: a view must always give the same rows, leave it out"


@dataclass(frozen=True)
class Readable:
    """The names that a query may use besides DuckDB's allowed functions, in lower case.

    Parameters
    ----------
    views
        The store's views and the user's.
    macros, table_macros
        The store's macros, those used in an expression and those used in FROM.
    """

    views: Collection[str]
    macros: Collection[str]
    table_macros: Collection[str]


def guard(connection: duckdb.DuckDBPyConnection, tree: Any, readable: Readable, *, stored: bool = False) -> None:
    """Refuse a query unless it is one SELECT that uses only ``readable`` names and allowed functions.

    Parameters
    ----------
    tree
        The parse tree of the query, see `parse`.
    stored
        Whether it is stored as a view: then it must also be deterministic.

    Raises
    ------
    QueryError
        When it is refused; the message names the part that is not allowed.
    """
    parts = part_names(tree)
    _refuse_parts(connection, parts)
    behind_from = in_from(tree)
    for node in nodes(tree):
        check_kind(node)
        if node.get("type") == "BASE_TABLE":
            _refuse_table(node, readable.views, parts)
        elif node.get("type") == "SHOW_REF":
            _refuse_show(node, readable.views, parts)
        elif "function_name" in node:
            _refuse_function(node, readable, behind_from=id(node) in behind_from, stored=stored)
        if stored:
            _refuse_varying(node)


def check_condition(connection: duckdb.DuckDBPyConnection, condition: str, *, lead: str) -> None:
    """Refuse text that is not exactly one expression, such as one that closes the parenthesis it is put into.

    Parameters
    ----------
    lead
        The query before the condition, which ends with ``WHERE (``.

    Raises
    ------
    QueryError
        When it is not a single expression.
    """
    given, plain = (parse(connection, f"{lead}{text}\n)")["statements"][0]["node"] for text in (condition, "true"))
    clause = given.pop("where_clause", None)
    if not clause or given != {name: plain[name] for name in plain if name != "where_clause"}:
        raise QueryError("it is not one condition: write what may follow WHERE, and no other part of a query")
    if clause.get("function_name") == "row" and not (clause.get("arguments") or clause.get("children")):
        raise QueryError("it is empty: write what may follow WHERE, or leave it out")


def _refuse_function(node: dict[str, Any], readable: Readable, *, behind_from: bool, stored: bool) -> None:
    """Refuse a function by its name alone: the schema, or the call as a method of a value, makes no difference."""
    name = folded(node["function_name"])
    known, macros = (ALLOWED_TABLES, readable.table_macros) if behind_from else (ALLOWED, readable.macros)
    if among(name, known):
        if name in BY_NAME and not behind_from:
            _refuse_named(node, name)
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
    raise QueryError(f"{what}, which a query can't use: {alike(name, usable) or 'leave it out'}")


def _refuse_named(node: dict[str, Any], name: str) -> None:
    """Refuse a function that calls the one whose name it is given, unless that is written out and allowed."""
    given = [one.get("expression", one) for one in node.get("arguments") or node.get("children") or ()]
    if len(given) < 2:
        return  # DuckDB says what is missing
    literal = given[1].get("literal") or given[1].get("value") or {}
    called = folded(literal.get("text", literal.get("value"))) if literal and "cast_type" not in given[1] else ""
    if not among(called, ALLOWED):
        raise QueryError(
            f"the query calls {name!r} with {shortened(called, 80)!r} as the name of an aggregate, which can't be "
            f"used: write its name out, as in {name}(a, 'sum')"
        )


def _refuse_varying(node: dict[str, Any]) -> None:
    """Refuse nondeterministic parts of a view that are not functions: samples, and names such as `current_date`."""
    sample = node.get("sample")
    if isinstance(sample, dict) and not sample.get("repeatable"):
        raise QueryError(f"the query takes a sample, {VARIES}; for a fixed sample, write REPEATABLE (1) after it")
    if node.get("type") == "COLUMN_REF" and len(node["column_names"]) == 1:
        name = folded(node["column_names"][0])
        if name in VARYING_COLUMNS:
            raise QueryError(f"the query uses {name!r}, {VARIES}; for a column, write its table before it")


def _refuse_parts(connection: duckdb.DuckDBPyConnection, parts: Collection[str]) -> None:
    """Refuse a common table expression whose name is that of a file or a system table.

    The guard lets the query use such a name anywhere, also where the expression is out of scope: there DuckDB must not
    resolve it to a file or a system table.
    """
    if not parts:
        return
    system = connection.execute(
        "SELECT lower(view_name) FROM duckdb_views() WHERE internal AND schema_name <> 'information_schema'"
    ).fetchall()
    for name in sorted(parts):
        if not PART_NAME.fullmatch(name) or (name,) in system:
            raise QueryError(f"the query has a CTE {name!r}, the name of a file or a system table: rename it")


def _refuse_show(node: dict[str, Any], views: Collection[str], parts: Collection[str]) -> None:
    """Refuse the argument of SHOW, DESCRIBE or SUMMARIZE, unless it is a query, a view or one of `SHOWN`."""
    if node.get("query"):
        return
    name = shown_name(node)
    elsewhere = [str(node[key]) for key in ("catalog_name", "schema_name") if node.get(key)]
    if elsewhere:
        raise QueryError(f"the query shows {'.'.join(elsewhere)[:200]!r}: only SHOW TABLES can be used here")
    if name.lower() not in SHOWN:
        _refuse_table({**node, "table_name": name}, views, parts)


def _refuse_table(node: dict[str, Any], views: Collection[str], parts: Collection[str]) -> None:
    """Refuse a name that is not a view: DuckDB would resolve it to a file or a system table."""
    name = folded(node.get("table_name", ""))
    if is_elsewhere(node) or (name not in views and name not in parts):
        asked = shortened(str(node.get("table_name", "")), 200)
        raise QueryError(
            f"the query reads {asked!r}: only the store's own views can be read ({nearest(name, {*views, *parts})})"
        )
