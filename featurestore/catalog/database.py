"""Database: DuckDB over one state, with a cursor for each thread; views are made when a query names them."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import duckdb
import pyarrow as pa

from featurestore.catalog.connection import connect, release_unused, run_query
from featurestore.catalog.definitions import Definitions, define
from featurestore.catalog.failing import Failure
from featurestore.catalog.forks import never_free, renew_in_children
from featurestore.catalog.guard import guard
from featurestore.catalog.interruptible import TimeLimitExceeded, interruptible
from featurestore.catalog.isolated import failing_views
from featurestore.catalog.maker import ViewMaker
from featurestore.catalog.parse import Named, named, parse
from featurestore.catalog.recipe import own_names
from featurestore.catalog.sandbox import SECONDS_LIMIT, collected, explain, reading
from featurestore.errors import QueryError
from featurestore.limited.process import check_seconds, timed_out
from featurestore.storage.layout import Layout
from featurestore.storage.names import misnamed, quote_name


class Database:
    """The views and macros of ``layout`` over the store in ``root``; DuckDB is opened by the first query.

    When one thread closes the database, running queries of other threads finish, and the next query opens it again.
    A forked child opens its own.

    Parameters
    ----------
    locked
        For SQL that a user typed: it gets less memory; see `connect`.
    failures
        The users' views that are known to fail. When None they are found in a process with limits, before all views are
        made.
    """

    def __init__(
        self, layout: Layout, root: Path, *, locked: bool = False, failures: Mapping[str, Failure] | None = None
    ) -> None:
        self._layout = layout
        self._root = root
        self._locked = locked
        self._failures = failures
        self._opened: _Opened | None = None
        self._lock = threading.RLock()
        renew_in_children(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release DuckDB's resources as soon as no thread runs a query any more."""
        with self._lock:
            self._opened = None

    def renew(self) -> None:
        """Abandon the parent's DuckDB in a forked child, which lacks its threads and where its locks may be held."""
        if self._opened is not None:
            never_free(self._opened)
        self._opened = None
        self._lock = threading.RLock()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """The cursor of this thread, always the same one; it sees the views that were created so far."""
        return self._open().cursor()

    def complete(self) -> duckdb.DuckDBPyConnection:
        """The cursor of this thread, after all views were created."""
        opened = self._open()
        with opened.lock:
            opened.maker.make_all()
        return opened.cursor()

    def query(self, query: str, parameters: object = None) -> pa.Table:
        """Run trusted SQL of a program and fetch its result.

        Raises
        ------
        QueryError
            When the query fails; the message is DuckDB's.
        IntegrityError
            When it uses a view that can't be created because a record is damaged.
        """
        opened = self._open()
        cursor = opened.cursor()

        def run() -> pa.Table:
            opened.prepare(cursor, query)
            return run_query(cursor, query, parameters)

        return interruptible(run, cursor.interrupt)

    def sql(self, query: str, parameters: object = None, *, seconds: float = SECONDS_LIMIT) -> pa.Table:
        """Check SQL that a user typed (see `guard`), run it for at most ``seconds``, and fetch its result.

        Raises
        ------
        QueryError
            When the query is refused, fails, or takes too long.
        InputError
            When ``seconds`` is not positive.
        IntegrityError
            As `query`.
        """
        check_seconds(seconds)
        opened = self._open()
        cursor = opened.cursor()

        def run() -> pa.Table:
            opened.check(cursor, query)
            with reading(cursor, query, parameters) as reader:
                return collected(reader)

        try:
            return interruptible(run, cursor.interrupt, seconds=seconds)
        except TimeLimitExceeded:
            raise timed_out(seconds) from None

    @contextmanager
    def batches(self, query: str, parameters: object = None) -> Iterator[pa.RecordBatchReader]:
        """Check SQL that a user typed, run it, and yield its result in batches; raises as `sql`."""
        opened = self._open()
        cursor = opened.cursor()
        opened.check(cursor, query)
        with reading(cursor, query, parameters) as reader:
            yield reader

    def check(self, query: str, *, stored: bool = False) -> None:
        """Refuse a query that a user may not run; one that is ``stored`` as a view must also be deterministic.

        Raises
        ------
        QueryError
            When it is refused; the message names the part that is not allowed.
        """
        opened = self._open()
        opened.check(opened.cursor(), query, stored=stored)

    def explain(self, query: str) -> None:
        """Plan a checked query without running it; raises `QueryError` with the position of an error."""
        explain(self.cursor(), query)

    def columns(self, view: str) -> list[str] | None:
        """The names of the columns of a view, in order; None where no view has exactly this name.

        Raises
        ------
        FailingView
            When it is a user's view that can't be created.
        """
        opened = self._open()
        if view not in opened.definitions.readable.views:
            return None
        opened.make(Named((view,)))
        rows = opened.cursor().execute(f"DESCRIBE SELECT * FROM {quote_name(view)}").fetchall()
        return [str(name) for name, *_ in rows]

    @property
    def views(self) -> list[str]:
        """The names of all views, including those that can't be created."""
        return sorted(self._open().definitions.readable.views)

    def failing_views(self) -> dict[str, Failure]:
        """The user's views that can't be used, each with the reason, in the order of the state."""
        if not self._layout.state.views:
            return {}
        opened = self._open()
        with opened.lock:
            opened.maker.make_users()
        return {name: failure for name, failure in self.each_view() if failure is not None}

    def each_view(self) -> Iterator[tuple[str, Failure | None]]:
        """Make each of the user's views, in the order of the state, and yield why it can't be used."""
        state = self._layout.state
        wrong = misnamed(state.tables, state.revisions, state.views, own=own_names(state.collection))
        opened = self._open()
        for name in state.views:
            with opened.lock:
                yield name, Failure(name, wrong[name]) if name in wrong else opened.maker.make_user(name)

    def release_unused(self) -> None:
        """Return memory that earlier queries used to the operating system."""
        opened = self._open()
        with opened.lock:  # it changes a setting and restores it
            release_unused(opened.cursor())

    def _open(self) -> "_Opened":
        with self._lock:
            if self._opened is None:
                judge = partial(failing_views, self._layout.objects, self._layout.state)
                if self._failures is not None:
                    judge = partial(dict, self._failures)
                self._opened = _Opened(define(self._layout), self._root, locked=self._locked, judge=judge)
            return self._opened


class _Opened:
    """One in-memory DuckDB, the cursors of the threads that use it, and the views created so far."""

    def __init__(
        self, definitions: Definitions, root: Path, *, locked: bool, judge: Callable[[], Mapping[str, Failure]]
    ) -> None:
        self.definitions = definitions
        self.lock = threading.RLock()
        self._connection = connect(definitions.layout, root, locked=locked)
        self.maker = ViewMaker(self._connection, definitions, root.resolve(), judge=judge)
        self._cursors: dict[int, duckdb.DuckDBPyConnection] = {}

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """The cursor of this thread; in a dictionary, since a fork would free thread-locals of other threads."""
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
        """Create the views that ``query``, of a program, names; all of them if it can't be parsed as a SELECT."""
        with self.lock:
            if self.maker.complete and not self.maker.broken:
                return
        try:
            wanted = named(parse(cursor, query))
        except QueryError:  # not a SELECT, or several statements; if it is invalid, running it reports that
            with self.lock:
                self.maker.make_all()
        else:
            self.make(wanted, placeholders=True)

    def check(self, cursor: duckdb.DuckDBPyConnection, query: str, *, stored: bool = False) -> None:
        """Check ``query``, of a user, and create the views that it names."""
        tree = parse(cursor, query)
        guard(cursor, tree, self.definitions.readable, stored=stored)
        self.make(named(tree))

    def make(self, wanted: Named, *, placeholders: bool = False) -> None:
        """Create what is ``wanted``; what can't be created raises, except users' views if ``placeholders`` is set."""
        with self.lock:
            self.maker.make(wanted)
            self.maker.refuse(wanted, placeholders=placeholders)
