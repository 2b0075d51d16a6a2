"""Database: DuckDB over one state, with a cursor for each thread; views are made when a query names them."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa

from featurestore.catalog.connection import connect, release_unused, run_query
from featurestore.catalog.definitions import Definitions, define
from featurestore.catalog.failing import Failure
from featurestore.catalog.forks import never_free, renew_in_children
from featurestore.catalog.guard import guard
from featurestore.catalog.listening import TooLong, listening
from featurestore.catalog.maker import ViewMaker
from featurestore.catalog.parse import Named, named, parse
from featurestore.catalog.sandbox import SECONDS_LIMIT, fetch
from featurestore.errors import InputError, QueryError
from featurestore.storage.layout import Layout
from featurestore.storage.names import misnamed, quote_name


class Database:
    """The views and macros of ``layout`` over the store in ``root``; DuckDB is opened at the first question.

    A database that another thread closes goes on for those who are asking it, and is opened anew by the next question.
    A forked child opens its own.

    Parameters
    ----------
    locked
        For text that a user typed: with a limit of memory, without temporary files, and no setting can be changed.
    """

    def __init__(self, layout: Layout, root: Path, *, locked: bool = False) -> None:
        self._layout = layout
        self._root = root
        self._locked = locked
        self._opened: _Opened | None = None
        self._lock = threading.RLock()
        renew_in_children(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what DuckDB takes, as soon as no thread asks it any more."""
        with self._lock:
            self._opened = None

    def renew(self) -> None:
        """Leave DuckDB to the parent: a forked child lacks the threads that work for it and may hold its locks."""
        if self._opened is not None:
            never_free(self._opened)
        self._opened = None
        self._lock = threading.RLock()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """The cursor of this thread, always the same; it has the views that were made so far."""
        return self._open().cursor()

    def complete(self) -> duckdb.DuckDBPyConnection:
        """The cursor of this thread, with every view there is."""
        opened = self._open()
        with opened.lock:
            opened.maker.make_all()
        return opened.cursor()

    def query(self, query: str, parameters: object = None) -> pa.Table:
        """Run SQL of a program and fetch its result.

        Raises
        ------
        QueryError
            With DuckDB's own words, when it can't be run.
        IntegrityError
            When it names what can't be made, because a record is damaged.
        """
        opened = self._open()
        cursor = opened.cursor()

        def run() -> pa.Table:
            opened.prepare(cursor, query)
            return run_query(cursor, query, parameters)

        return listening(run, cursor.interrupt)

    def sql(self, query: str, parameters: object = None, *, seconds: float = SECONDS_LIMIT) -> pa.Table:
        """Guard text that a user typed, run it for at most ``seconds``, and fetch its result.

        Raises
        ------
        QueryError
            When it is refused, fails, or takes too long.
        InputError
            When ``seconds`` is not positive.
        IntegrityError
            As `query`.
        """
        if not seconds > 0:
            raise InputError(
                f"got a time limit of {seconds:g} s, expected more than 0: leave it out for {SECONDS_LIMIT:g} s"
            )
        opened = self._open()
        cursor = opened.cursor()

        def run() -> pa.Table:
            opened.check(cursor, query)
            return fetch(cursor, query, parameters)

        try:
            return listening(run, cursor.interrupt, seconds=seconds)
        except TooLong:
            raise QueryError(f"the query took longer than {seconds:g} s and was stopped: narrow it") from None

    def check(self, query: str, *, stored: bool = False) -> None:
        """Refuse a query that a user may not run; one that is to be ``stored`` must not vary either.

        Raises
        ------
        QueryError
            With what was refused.
        """
        opened = self._open()
        opened.check(opened.cursor(), query, stored=stored)

    def columns(self, view: str) -> list[str] | None:
        """The names of the columns of a view, in their order; None where there is none of this very name.

        Raises
        ------
        FailingView
            When it is one of the user's that can't be made.
        """
        opened = self._open()
        if view not in opened.definitions.readable.views:
            return None
        opened.make(Named((view,)))
        rows = opened.cursor().execute(f"DESCRIBE SELECT * FROM {quote_name(view)}").fetchall()
        return [str(name) for name, *_ in rows]

    @property
    def views(self) -> list[str]:
        """The names of all views, whether they can be made or not."""
        return sorted(self._open().definitions.readable.views)

    def failing_views(self) -> dict[str, Failure]:
        """Why views of the user can't be used, in the order of the state."""
        state = self._layout.state
        if not state.views:
            return {}
        opened = self._open()
        with opened.lock:
            opened.maker.make_users()
            made = dict(opened.maker.failures)
        return _in_order(state.views, made, misnamed(state.tables, state.revisions, state.views))

    def release_unused(self) -> None:
        """Give back to the system what earlier queries took."""
        opened = self._open()
        with opened.lock:  # it reads a setting and puts it back
            release_unused(opened.cursor())

    def _open(self) -> "_Opened":
        with self._lock:
            if self._opened is None:
                self._opened = _Opened(define(self._layout), self._root, locked=self._locked)
            return self._opened


class _Opened:
    """One DuckDB in memory, the cursors of the threads that use it, and the views made so far."""

    def __init__(self, definitions: Definitions, root: Path, *, locked: bool) -> None:
        self.definitions = definitions
        self.lock = threading.RLock()
        self._connection = connect(definitions.layout, root, locked=locked)
        self.maker = ViewMaker(self._connection, definitions, root.resolve())
        self._cursors: dict[int, duckdb.DuckDBPyConnection] = {}

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """The cursor of this thread. In a dictionary: a fork frees what is local to the parent's other threads."""
        number = threading.get_ident()
        found = self._cursors.get(number)
        if found is None:
            with self.lock:
                alive = {thread.ident for thread in threading.enumerate()}
                for ended in self._cursors.keys() - alive:
                    del self._cursors[ended]
                found = self._cursors[number] = self._connection.cursor()
        return found

    def prepare(self, cursor: duckdb.DuckDBPyConnection, query: str) -> None:
        """Make what ``query``, of a program, names; where that can't be told, all."""
        with self.lock:
            if self.maker.complete and not self.maker.broken:
                return
        try:
            wanted = named(parse(cursor, query))
        except QueryError:  # no SELECT, or several statements; if it is nothing at all, DuckDB says so
            with self.lock:
                self.maker.make_all()
        else:
            self.make(wanted, placeholders=True)

    def check(self, cursor: duckdb.DuckDBPyConnection, query: str, *, stored: bool = False) -> None:
        """Guard ``query``, of a user, and make what it names."""
        tree = parse(cursor, query)
        guard(cursor, tree, self.definitions.readable, stored=stored)
        self.make(named(tree))

    def make(self, wanted: Named, *, placeholders: bool = False) -> None:
        """Make what is ``wanted``; refuse what can't be made, but not the user's views where `placeholders` do."""
        with self.lock:
            self.maker.make(wanted)
            self.maker.refuse(wanted, placeholders=placeholders)


def _in_order(views: Mapping[str, str], made: Mapping[str, Failure], wrong: Mapping[str, str]) -> dict[str, Failure]:
    """The failures of ``views``, in their order: of the ``made``, and of those whose names are ``wrong``."""
    found = {**made, **{name: Failure(name, reason) for name, reason in wrong.items()}}
    return {name: found[name] for name in views if name in found}
