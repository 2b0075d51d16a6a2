"""Opens DuckDB connections that read one store, and runs queries on them; it creates no views."""

from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.catalog.duckdb_errors import words
from featurestore.catalog.sandbox import MEMORY_LIMIT, SHARED_LIMIT, confine, lock_down
from featurestore.errors import IntegrityError, QueryError
from featurestore.storage.layout import Layout


def connect(layout: Layout, root: Path, *, locked: bool = False) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database without views that can read only the parts of the store in ``root``.

    Every query of a store runs in one that was opened here, and so does every view of a user. Its settings are locked;
    its memory is limited to 2 GB for SQL that a user typed, else to 60 % of the machine's; it has no temporary files.

    Parameters
    ----------
    locked
        Whether it will run SQL written by a user: it gets less memory then, and errors with their position.

    Raises
    ------
    IntegrityError
        When DuckDB can't be restricted in this way.
    """
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": False})
    home = root.resolve()
    try:
        # Before the first view is created: creating a user's view binds it, and it may come from a stranger.
        confine(connection, [f"{home}/{table}/" for table in layout.tables])
        # Only on this connection, which creates the views: the error of a failing view is stored as its reason. As JSON
        # it contains the message without the text of the statement.
        connection.execute("SET SESSION errors_as_json = true")
        if locked:
            connection.execute("SET GLOBAL errors_as_json = true")
        lock_down(connection, memory=MEMORY_LIMIT if locked else SHARED_LIMIT)
    except duckdb.Error as error:
        connection.close()
        raise IntegrityError(f"the store {str(root)!r} can't be read ({words(error)}): rename its folder") from error
    return connection


def run_query(connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> pa.Table:
    """Run ``query`` and return its result.

    Raises
    ------
    QueryError
        When the query fails; with DuckDB's message.
    """
    try:
        result = connection.sql(query, params=parameters)
        return pa.table({}) if result is None else result.to_arrow_table()
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {words(error)}") from error


def release_unused(connection: duckdb.DuckDBPyConnection) -> None:
    """Return memory of earlier queries to the system; DuckDB otherwise keeps twice the size of a result, or more.

    Two threads must not call it at the same time: it changes a setting and restores the value that it read.
    """
    [(threads,)] = connection.sql("SELECT current_setting('threads')").fetchall()
    # DuckDB flushes its allocator when its threads restart; it has no statement for that. Measured with 92 MB: the
    # settings `allocator_flush_threshold` and `allocator_bulk_deallocation_flush_threshold` returned nothing,
    # `allocator_background_threads` returned a third within 1.5 s, and this returns more than half at once. Setting the
    # memory limit returns as much, but its value can only be read rounded, so it could not be restored.
    connection.execute(f"SET threads = {threads + 1}")
    connection.execute(f"SET threads = {threads}")
