"""The file for the ``duckdb`` shell: the views and macros of one state; it is written whole and never read here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from featurestore import system
from featurestore.catalog.definitions import DEFERRED, Definitions, define
from featurestore.catalog.maker import ViewMaker
from featurestore.catalog.scans import TableScan, select_none, select_rows
from featurestore.errors import IntegrityError
from featurestore.storage.layout import Layout
from featurestore.storage.names import quote_name, quote_text

SHELL_FILE = "store.duckdb"


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
        system.replace(temporary, root / SHELL_FILE)
    finally:
        for path in (temporary, log):
            path.unlink(missing_ok=True)


def _create_at_once(connection: duckdb.DuckDBPyConnection, layout: Layout) -> None:
    """All views in one transaction: else each is synced to disk by itself, half a second a commit on a busy disk."""
    connection.execute("BEGIN")
    try:
        _create_deferred(connection, define(layout, users=False, deferred=True))
    except (duckdb.Error, IntegrityError):  # an older DuckDB can't defer; a damaged manifest does not tell a dimension
        connection.execute("ROLLBACK")
        _create_bound(connection, define(layout, users=False))
        return
    connection.execute("COMMIT")


def _create_deferred(connection: duckdb.DuckDBPyConnection, definitions: Definitions) -> None:
    """All views without reading a part: with many backbones, binding each view takes nine tenths of the time.

    A damaged part is found by the query that reads it. Macros are bound in any case: to tables that are empty so far.
    """
    layout = definitions.layout
    scans = {name: found for (_, name), found in definitions.own.items() if isinstance(found, TableScan)}
    for name, scan in scans.items():
        _create_view(connection, name, select_none(scan, layout))
    owned = {key: found for key, found in definitions.own.items() if not isinstance(found, TableScan)}
    for key in sorted(owned, key=lambda key: key.kind == "macro"):
        connection.execute(definitions.statement(owned[key]))
    for name, scan in scans.items():
        if rows := select_rows(scan, layout, Path()):
            _create_view(connection, name, rows)


def _create_view(connection: duckdb.DuckDBPyConnection, name: str, select: str) -> None:
    connection.execute(f"CREATE OR REPLACE VIEW {quote_name(name)} {DEFERRED} AS {select}")


def _create_bound(connection: duckdb.DuckDBPyConnection, definitions: Definitions) -> None:
    """All views, each bound when it is created; in the place of one that can't be stands one that says why."""
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
