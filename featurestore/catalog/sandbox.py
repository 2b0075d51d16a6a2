"""Restricts a user's SQL to reading the views of a store.

There are two layers. `guard` refuses any query but a SELECT over the store's views with functions that only compute.
What passes runs in a connection without files except the store's parts, without network and without extensions, whose
settings are locked and whose memory is limited. A typed query has its own connection with a lower limit; a user's view
that a program names runs in the store's. `isolated` runs both checks and query in a process with limits of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa

from featurestore.catalog.duckdb_errors import words
from featurestore.errors import QueryError
from featurestore.storage.names import quote_text

MEMORY_LIMIT = "2GB"
# The same of a program's query, such as one that names a user's view: a share of the machine's memory, since the rows
# of a large collection are honest work. Nothing is put into temporary files, which would fill a disk.
SHARED_LIMIT = "60%"
# DuckDB's memory limit does not include the result that it returns.
RESULT_BYTES = 2 * 10**9
BATCH_ROWS = 16_384
SECONDS_LIMIT = 300.0
EXPLAIN = "EXPLAIN "


def confine(connection: duckdb.DuckDBPyConnection, folders: Sequence[str]) -> None:
    """Deny ``connection`` the network, extensions and all files except those in ``folders``; this can't be undone."""
    listed = ", ".join(quote_text(folder) for folder in folders)
    for setting in (
        "temp_directory = ''",
        f"allowed_directories = [{listed}]",
        "enable_external_access = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "python_enable_replacements = false",
        "TimeZone = 'UTC'",  # else a view would show times, and its reader, where the machine is
    ):
        connection.execute(f"SET GLOBAL {setting}")  # for all cursors, not only for this connection


def lock_down(connection: duckdb.DuckDBPyConnection, *, memory: str) -> None:
    """Limit the memory of a confined ``connection`` and its cursors, and lock their settings but `threads`."""
    connection.execute(f"SET GLOBAL memory_limit = '{memory}'")
    connection.execute("SET GLOBAL allowed_configs = ['threads']")
    connection.execute("SET GLOBAL lock_configuration = true")


@contextmanager
def reading(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None
) -> Iterator[pa.RecordBatchReader]:
    """Run a guarded ``query`` in a locked ``connection``, and yield its result in batches.

    Raises
    ------
    QueryError
        When it fails, or needs more memory than allowed; also from the block that reads it.
    """
    try:
        with _bound(connection, query, parameters).to_arrow_reader(BATCH_ROWS) as reader:
            yield reader
    except duckdb.OutOfMemoryException as error:
        raise QueryError(f"the query needs more than {MEMORY_LIMIT} of memory and was stopped: simplify it") from error
    except (duckdb.Error, OSError) as error:  # an error after the first rows is raised by Arrow, as an OSError
        raise QueryError(f"the query failed: {words(error)}") from error
    except pa.ArrowException as error:
        raise QueryError(
            f"the result can't be converted to Arrow ({words(error)}): cast its nested columns to VARCHAR"
        ) from error


def collected(reader: pa.RecordBatchReader) -> pa.Table:
    """All rows of a result.

    Raises
    ------
    QueryError
        When they take more than `RESULT_BYTES`.
    """
    batches, size = [], 0
    for batch in reader:
        size += batch.nbytes
        if size > RESULT_BYTES:
            raise QueryError(
                f"the result takes more than {RESULT_BYTES / 1e9:g} GB of memory and was stopped: select less"
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _bound(connection: duckdb.DuckDBPyConnection, query: str, parameters: object) -> duckdb.DuckDBPyRelation:
    """``query`` as a relation, bound but not run."""
    try:
        return connection.sql(query, params=parameters)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        explain(connection, query, parameters)  # raises with the position of the error
        raise QueryError(f"the query failed: {words(error)}") from error


def explain(connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> None:
    """Plan a guarded ``query`` of a locked ``connection``, without running it.

    Raises
    ------
    QueryError
        When it can't be planned; the message has DuckDB's hints and the position in the query.
    """
    try:
        connection.execute(f"{EXPLAIN}{query}", parameters)
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {words(error, query, prefix=EXPLAIN)}") from error
