"""DuckDB: opens it and runs a query; it stores nothing itself."""

from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.catalog.duckdb_errors import words
from featurestore.catalog.sandbox import confine, lock_down
from featurestore.errors import IntegrityError, QueryError
from featurestore.storage.layout import Layout


def connect(layout: Layout, root: Path, *, locked: bool = False) -> duckdb.DuckDBPyConnection:
    """A database in memory without views, which reads no file but the parts of the store in ``root``.

    Parameters
    ----------
    locked
        For text that a user typed: with a limit of memory, without temporary files, and no setting can be changed.

    Raises
    ------
    IntegrityError
        When DuckDB can't be opened so.
    """
    connection = duckdb.connect(":memory:", config={"python_enable_replacements": False})
    home = root.resolve()
    try:
        # Before the first view: a user's view comes from whoever wrote the state, and is bound when it is created.
        confine(connection, [f"{home}/{table}/" for table in layout.tables], spills=not locked)
        # Of this connection alone, which makes the views: an error is kept as the reason why one fails, and then says
        # what was meant instead of quoting the statement.
        connection.execute("SET SESSION errors_as_json = true")
        if locked:
            lock_down(connection)
    except duckdb.Error as error:
        connection.close()
        raise IntegrityError(f"the store {str(root)!r} can't be read ({words(error)}): rename its folder") from error
    return connection


def run_query(connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> pa.Table:
    """Run ``query`` and fetch its result.

    Raises
    ------
    QueryError
        With DuckDB's own words, when the query can't be run.
    """
    try:
        result = connection.sql(query, params=parameters)
        return pa.table({}) if result is None else result.to_arrow_table()
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {words(error)}") from error


def release_unused(connection: duckdb.DuckDBPyConnection) -> None:
    """Give back to the system what earlier queries took: DuckDB keeps it for the next, twice the result and more.

    Not for two threads at once: it puts back the setting that it reads.
    """
    [(threads,)] = connection.sql("SELECT current_setting('threads')").fetchall()
    # Starting its threads anew is what makes DuckDB flush its allocator; it has no statement for that. Of its settings,
    # `allocator_flush_threshold` and `allocator_bulk_deallocation_flush_threshold` gave back nothing of 92 MB,
    # `allocator_background_threads` a third within 1.5 s, this more than half at once. Setting the memory limit does as
    # much, but a limit can be read rounded only.
    connection.execute(f"SET threads = {threads + 1}")
    connection.execute(f"SET threads = {threads}")
