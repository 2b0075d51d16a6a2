"""Parses a query with DuckDB, and lists the tables and functions that it names; it decides nothing about them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from featurestore.catalog.duckdb_errors import place, shortened, words
from featurestore.errors import QueryError


@dataclass(frozen=True)
class Named:
    """The names that a query uses, case-folded as DuckDB does.

    Parameters
    ----------
    tables
        Tables and views, also those that a SHOW, DESCRIBE or SUMMARIZE names.
    parts
        The query's own common table expressions.
    functions, table_functions
        Functions in an expression, and those in FROM.
    elsewhere
        Whether it names a table of another schema or catalog.
    shows
        Whether it contains a SHOW, DESCRIBE or SUMMARIZE.
    """

    tables: tuple[str, ...] = ()
    parts: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    table_functions: frozenset[str] = frozenset()
    elsewhere: bool = False
    shows: bool = False

    def filled(self, name: str, value: str) -> "Named":
        """The same names, with ``value`` in place of ``{name}`` in those of tables."""
        return replace(self, tables=tuple(table.replace(f"{{{name}}}", value) for table in self.tables))


def parse(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    """The parse tree of one SELECT, as DuckDB serializes it to JSON.

    Raises
    ------
    QueryError
        When it can't be parsed, is another statement, or is several statements.
    """
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
        if tree.get("error_type") == "not implemented":  # any other valid statement
            message = "only SELECT can be run here, the store is read-only"
        raise QueryError(f"the query failed: {message}{place(tree, query)}")
    if len(tree.get("statements", [])) != 1:
        raise QueryError(f"got {len(tree.get('statements', []))} statements, expected one SELECT")
    return tree


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object of the tree, at any depth."""
    left = [tree]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            yield value
            left += value.values()
        elif isinstance(value, list):
            left += value


def folded(name: object) -> str:
    """``name`` in lower case as DuckDB compares names: only ASCII letters are case-insensitive."""
    return str(name).lower() if str(name).isascii() else str(name)


def is_elsewhere(node: dict[str, Any]) -> bool:
    """Whether a table node names a catalog or schema other than that of the store's views."""
    return bool(node.get("catalog_name")) or str(node.get("schema_name") or "main").lower() != "main"


def in_from(tree: Any) -> set[int]:
    """The Python ``id()`` of each function node in FROM."""
    return {id(node.get("function")) for node in nodes(tree) if node.get("type") == "TABLE_FUNCTION"}


def part_names(tree: Any) -> frozenset[str]:
    """The names of the common table expressions of a query."""
    return frozenset(
        folded(entry["key"]) for node in nodes(tree) for entry in (node.get("cte_map") or {}).get("map") or []
    )


def shown_name(node: dict[str, Any]) -> str:
    """The name that a SHOW has instead of a query; empty if it has a query."""
    return "" if node.get("query") else str(node.get("table_name", "")).strip('"')


def named(tree: Any) -> Named:
    """The names that the query of ``tree`` uses."""
    behind_from = in_from(tree)
    tables: dict[str, None] = {}
    functions: set[str] = set()
    table_functions: set[str] = set()
    elsewhere = shows = False
    for node in nodes(tree):
        if node.get("type") == "BASE_TABLE":
            tables[folded(node.get("table_name", ""))] = None
            elsewhere |= is_elsewhere(node)
        elif node.get("type") == "SHOW_REF":
            shows = True
            if name := shown_name(node):
                tables[folded(name)] = None
        elif "function_name" in node:
            (table_functions if id(node) in behind_from else functions).add(folded(node["function_name"]))
    return Named(tuple(tables), part_names(tree), frozenset(functions), frozenset(table_functions), elsewhere, shows)
