"""DuckDB: opens it, runs a query, and writes the file for its shell; it stores nothing itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from featurestore.catalog.definitions import define
from featurestore.catalog.duckdb_errors import words
from featurestore.catalog.maker import ViewMaker
from featurestore.catalog.sandbox import confine, lock_down
from featurestore.errors import IntegrityError, QueryError
from featurestore.storage.layout import Layout
from featurestore.storage.names import quote_text

SHELL_FILE = "store.duckdb"


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


def write_shell_file(layout: Layout, root: Path) -> None:
    """Write ``store.duckdb``: the store's views for the ``duckdb`` shell started in ``root``; disposable.

    It has no views of users: a shell has no fences, and opens files that somebody else may have written.
    It is made anew and renamed into place, so nobody who has the old one open is disturbed.
    """
    temporary = root / f".{SHELL_FILE}.{os.getpid()}.tmp"
    log = temporary.with_name(f"{temporary.name}.wal")
    for path in (temporary, log):  # a log without its file would be replayed into the new one
        path.unlink(missing_ok=True)
    try:
        with (
            _without_comma(root.resolve()) as folder,
            duckdb.connect(str(temporary), config={"default_block_size": 16_384}) as connection,
        ):
            # The views name parts relative to the folder the shell is started in; here that is somewhere else.
            connection.execute(f"SET file_search_path = {quote_text(str(folder))}")
            _create_at_once(connection, layout)
            # Closing does it too, but keeps silent when the disk refuses: a file without views would take the place.
            connection.execute("CHECKPOINT")
        os.replace(temporary, root / SHELL_FILE)
    finally:
        for path in (temporary, log):
            path.unlink(missing_ok=True)


def _create_at_once(connection: duckdb.DuckDBPyConnection, layout: Layout) -> None:
    """All views in one transaction: else each is synced to disk by itself, half a second a commit on a busy disk."""
    definitions = define(layout, users=False)
    connection.execute("BEGIN")
    try:
        ViewMaker(connection, definitions, None).make_all()
    except duckdb.TransactionException:  # a damaged part ended the transaction; one by one its view can say so
        connection.execute("ROLLBACK")
        ViewMaker(connection, definitions, None).make_all()
        return
    connection.execute("COMMIT")


@contextmanager
def _without_comma(folder: Path) -> Iterator[Path]:
    """``folder``, or a link to it: to DuckDB, a comma in a search path is the end of one and the start of another."""
    if "," not in str(folder):
        yield folder
        return
    with TemporaryDirectory() as place:
        link = Path(place, "store")
        link.symlink_to(folder, target_is_directory=True)
        yield link


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
