"""Lets a user's SQL read the views of a store and nothing else.

Two fences. The statement must parse to a SELECT whose tables are the store's and whose table functions are harmless;
and it runs in a connection of its own that has no files but the store's parts, no network, no extensions, no settings.
"""

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import TIMEOUT_MAX
from typing import Any

import duckdb
import pyarrow as pa

from featurestore.errors import InputError, QueryError, reason
from featurestore.names import quote_text

# Table functions that read nothing.
TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "repeat", "repeat_row"})
# Scalar functions that look at the machine, at other data than the views, or run text as SQL.
# fmt: off
FORBIDDEN = frozenset({
    "getenv", "current_setting", "getvariable", "set_config", "query", "query_table", "nextval", "currval", "write_log",
    "current_query", "json_execute_serialized_sql", "from_substrait", "which_secret", "checkpoint", "force_checkpoint",
    "add_parquet_key", "sleep_ms", "txid_current", "sql_auto_complete", "current_database", "current_catalog",
    "current_schemas", "current_schema", "current_role", "version", "user", "current_user", "session_user", "setval",
})
# fmt: on
# What SHOW may show.
SHOWN = frozenset({"tables"})
# Views that other views stand on: they can be read, but nobody needs to know of them.
INTERNAL = "_parts_"
MEMORY_LIMIT = "2GB"
# DuckDB's limit does not count the result that it hands over.
RESULT_BYTES = 2 * 10**9
BATCH_ROWS = 16_384
SECONDS_LIMIT = 300.0
CTE_NAME = re.compile(r"[\w ]+")


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C be Ctrl-C in the block: DuckDB answers it with an error of its own."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == "Query interrupted":
            raise KeyboardInterrupt from error
        raise


@interruptible()
def guard(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse ``query`` unless it is one SELECT over the views and table macros of ``connection``.

    Raises
    ------
    QueryError
        With what was refused.
    """
    tree = _parse(connection, query)
    views, macros = _own_names(connection)
    readable = views | _cte_names(connection, tree)
    for node in _nodes(tree):
        kind = node.get("type")
        if kind == "BASE_TABLE":
            _refuse_table(node, readable)
        elif kind == "SHOW_REF" and node.get("table_name"):
            _refuse_table({"table_name": str(node["table_name"]).strip('"')}, readable | SHOWN)
        elif kind == "TABLE_FUNCTION":
            name = str(node["function"].get("function_name", "")).lower()
            if name not in TABLE_FUNCTIONS and name not in macros:
                raise QueryError(f"the query uses the table function {name!r}: only the store's own views can be read")
        elif "function_name" in node:
            name = str(node["function_name"]).lower()
            if name in FORBIDDEN or name.startswith(("pragma_", "duckdb_", "read_", "parquet_", "pg_")):
                raise QueryError(f"the query uses the function {name!r}, which does more than compute: leave it out")


def _parse(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    try:
        text = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {reason(error)}") from error
    try:
        tree = json.loads(text[0]) if text else {}
    except RecursionError as error:
        raise QueryError("the query is nested too deeply: break it up with WITH") from error
    if tree.get("error"):
        message = (str(tree.get("error_message", "")).strip().splitlines() or ["it can't be parsed"])[0]
        if "Only SELECT" in message:
            message = "only SELECT can be run here, the store is read-only"
        raise QueryError(f"the query failed: {message}")
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


def _own_names(connection: duckdb.DuckDBPyConnection) -> tuple[set[str], set[str]]:
    """The views and the table macros that the store made, in lower case."""
    views = connection.execute("SELECT lower(view_name) FROM duckdb_views() WHERE NOT internal").fetchall()
    macros = connection.execute(
        "SELECT lower(function_name) FROM duckdb_functions() WHERE NOT internal AND function_type = 'table_macro'"
    ).fetchall()
    return {row[0] for row in views}, {row[0] for row in macros}


def _cte_names(connection: duckdb.DuckDBPyConnection, tree: Any) -> set[str]:
    """The names of the common table expressions of a query, in lower case.

    Such a name is readable wherever the query uses it, also where the expression itself is out of scope: there it must
    mean nothing, neither a file nor a table of the system.
    """
    entries = [entry for node in _nodes(tree) for entry in (node.get("cte_map") or {}).get("map") or []]
    names = {str(entry["key"]).lower() for entry in entries}
    system = connection.execute(
        "SELECT lower(view_name) FROM duckdb_views() WHERE internal AND schema_name <> 'information_schema'"
    ).fetchall()
    for name in sorted(names):
        if not CTE_NAME.fullmatch(name) or (name,) in system:
            raise QueryError(f"the query calls a part of itself {name!r}, a name of a file or of the system: rename it")
    return names


def _refuse_table(node: dict[str, Any], readable: set[str]) -> None:
    name = str(node.get("table_name", ""))
    elsewhere = node.get("catalog_name") or str(node.get("schema_name") or "main").lower() != "main"
    if elsewhere or name.lower() not in readable:
        # A name that is no view would be taken for a file, or for a table of the system.
        have = ", ".join(sorted(name for name in readable - SHOWN if not name.startswith(INTERNAL)))
        raise QueryError(f"the query reads {name!r}: only the store's own views can be read ({have})")


def lock_down(connection: duckdb.DuckDBPyConnection, folders: Sequence[str]) -> None:
    """Take everything from ``connection`` but the parts in ``folders``; can't be undone."""
    listed = ", ".join(quote_text(folder) for folder in folders)
    for setting in (
        "temp_directory = ''",
        f"allowed_directories = [{listed}]",
        "enable_external_access = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "python_enable_replacements = false",
        f"memory_limit = '{MEMORY_LIMIT}'",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")


def run_guarded(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    parameters: object = None,
    *,
    seconds: float = SECONDS_LIMIT,
) -> pa.Table:
    """Guard ``query``, run it for at most ``seconds``, and fetch its result.

    Raises
    ------
    QueryError
        When it is refused, fails, or takes too long.
    InputError
        When ``seconds`` is not positive.
    """
    if not seconds > 0:
        raise InputError(
            f"got a time limit of {seconds:g} s, expected more than 0: leave it out for {SECONDS_LIMIT:g} s"
        )
    guard(connection, query)
    with ThreadPoolExecutor(1) as pool:
        # DuckDB does not look at signals while it works: it works beside, and this thread listens.
        running = pool.submit(_fetch, connection, query, parameters)
        try:
            return running.result(timeout=min(seconds, TIMEOUT_MAX))
        except TimeoutError:
            connection.interrupt()
            raise QueryError(f"the query took longer than {seconds:g} s and was stopped: narrow it") from None
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def _fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: object) -> pa.Table:
    batches, size = [], 0
    try:
        with connection.sql(query, params=parameters).to_arrow_reader(BATCH_ROWS) as reader:
            for batch in reader:
                size += batch.nbytes
                if size > RESULT_BYTES:
                    raise QueryError(
                        f"the result takes more than {RESULT_BYTES / 1e9:g} GB of memory and was stopped: narrow it"
                    )
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
    except duckdb.OutOfMemoryException as error:
        raise QueryError(f"the query needs more than {MEMORY_LIMIT} of memory and was stopped: narrow it") from error
    except (duckdb.Error, OSError) as error:  # an error that comes after the first rows is Arrow's: an OSError
        raise QueryError(f"the query failed: {reason(error)}") from error
