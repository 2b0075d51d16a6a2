"""Lets a user's SQL read the views of a store and nothing else.

Two fences. `guard` refuses what is no SELECT over the store's views, or does more than compute; and the rest runs in a
connection that has no files but the store's parts, no network, no extensions. What is typed as a query has a
connection of its own, which is limited further; a user's view runs in the store's. The threads that use one open store
share its limit of memory.
"""

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from featurestore.catalog.duckdb_errors import words
from featurestore.errors import QueryError
from featurestore.storage.names import quote_text

MEMORY_LIMIT = "2GB"
# DuckDB's limit does not count the result that it hands over.
RESULT_BYTES = 2 * 10**9
BATCH_ROWS = 16_384
SECONDS_LIMIT = 300.0
EXPLAIN = "EXPLAIN "


def confine(connection: duckdb.DuckDBPyConnection, folders: Sequence[str], *, spills: bool) -> None:
    """Take from ``connection`` every file but those in ``folders``, the network and extensions; can't be undone.

    Parameters
    ----------
    spills
        Whether what does not fit into memory may go to DuckDB's temporary files.
    """
    listed = ", ".join(quote_text(folder) for folder in folders)
    for setting in (
        *(() if spills else ("temp_directory = ''",)),
        f"allowed_directories = [{listed}]",
        "enable_external_access = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "python_enable_replacements = false",
    ):
        connection.execute(f"SET GLOBAL {setting}")  # of every cursor, not of this connection alone


def lock_down(connection: duckdb.DuckDBPyConnection) -> None:
    """Limit the memory of a confined ``connection`` and its cursors, and let them change no setting any more.

    Their errors are records, which tell the place in the query.
    """
    connection.execute("SET GLOBAL errors_as_json = true")
    connection.execute(f"SET GLOBAL memory_limit = '{MEMORY_LIMIT}'")
    connection.execute("SET GLOBAL lock_configuration = true")


def fetch(connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> pa.Table:
    """Run a guarded ``query`` in a locked ``connection`` and fetch its result.

    Raises
    ------
    QueryError
        When it fails, or needs more memory than it may have.
    """
    batches, size = [], 0
    try:
        with _bound(connection, query, parameters).to_arrow_reader(BATCH_ROWS) as reader:
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
        raise QueryError(f"the query failed: {words(error)}") from error
    except pa.ArrowException as error:
        raise QueryError(
            f"the result can't be handed over ({words(error)}): cast what is nested in it to VARCHAR"
        ) from error


def _bound(connection: duckdb.DuckDBPyConnection, query: str, parameters: object) -> duckdb.DuckDBPyRelation:
    """``query``, ready to run."""
    try:
        return connection.sql(query, params=parameters)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        explain(connection, query, parameters)  # says it better: with the place
        raise QueryError(f"the query failed: {words(error)}") from error


def explain(connection: duckdb.DuckDBPyConnection, query: str, parameters: object = None) -> None:
    """Plan a guarded ``query`` of a locked ``connection``, without running it.

    Raises
    ------
    QueryError
        When that is not possible, with DuckDB's hints and the place in the query.
    """
    try:
        connection.execute(f"{EXPLAIN}{query}", parameters)
    except duckdb.Error as error:
        raise QueryError(f"the query failed: {words(error, query, prefix=EXPLAIN)}") from error
