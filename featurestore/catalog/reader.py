"""Reader: one opened state of a store, its connections and what it keeps in memory; it writes nothing."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from featurestore.catalog.database import Database
from featurestore.catalog.opened import Opened
from featurestore.catalog.sandbox import SECONDS_LIMIT
from featurestore.errors import InputError, IntegrityError, QueryError, StoreError
from featurestore.storage.layout import Layout
from featurestore.storage.names import nearest
from featurestore.storage.objects import LocalObjects
from featurestore.storage.remote import is_remote
from featurestore.storage.state import State, read_state

Kept = TypeVar("Kept")


class Reader:
    """One state of the store in a folder; what others write later shows after `refresh`.

    Any number of threads can use one reader: each has a cursor of its own, and a thread that is reading goes on with
    what it sees when another calls `refresh` or `close`. A forked child can use it too. A pickled reader, or a copy, is
    another one of the same location and snapshot.

    Parameters
    ----------
    path
        The store's folder. Nothing is read before it is needed, nothing is locked by reading.
    """

    def __init__(self, path: str | Path, *, snapshot: str | None = None) -> None:
        self.location = str(path)
        self.snapshot_name = snapshot
        self._opened = Opened(self.location, snapshot)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str]]:
        """Open the same location again; a folder by its whole path: another process may work in another one."""
        location = self.location if is_remote(self.location) else os.path.abspath(self.location)
        return partial(type(self), snapshot=self.snapshot_name), (location,)

    @classmethod
    def open(cls, path: str | Path = "store", *, snapshot: str | None = None) -> Self:
        """Open the store in ``path``: a folder, or an address such as ``s3://bucket/store``, which is read-only.

        Parameters
        ----------
        snapshot
            Name of a snapshot to see instead of the current state.

        Raises
        ------
        StoreNotFound
            When there is none; the class itself doesn't look, so that ``FeatureStore(path).ingest(…)`` can make one.
        InputError
            When there is no such snapshot.
        """
        store = cls(path, snapshot=snapshot)
        _ = store.state
        return store

    @property
    def objects(self) -> LocalObjects:
        """The files of the store; raises as `storage.remote.objects_at`."""
        return self._opened.objects

    @property
    def path(self) -> Path:
        """The folder; of a store at an address, that of the cache, which holds what was used so far."""
        return self.objects.root

    @property
    def state(self) -> State:
        """The state that this object sees.

        Raises
        ------
        StoreNotFound
            When there is no store.
        InputError
            When there is no such snapshot.
        """
        return self._opened.state

    @property
    def layout(self) -> Layout:
        """The parts of every table."""
        return self._opened.layout

    @property
    def database(self) -> Database:
        """DuckDB over this state, for SQL of programs."""
        return self._opened.database

    @property
    def locked_database(self) -> Database:
        """DuckDB over this state, for text that a user typed: `sql` runs it there."""
        return self._opened.locked_database

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection, in memory, with all views of this state; it reads no file but the store's parts.

        Each thread has its own. `query` makes only the views that it needs, and so is faster.
        """
        return self.database.complete()

    @property
    def memo(self) -> dict[str, Any]:
        """What readers of this state keep for the next question, under a name of their own; empty after `refresh`."""
        return self._opened.memo

    def remember(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What `memo` has under ``name``; else one thread makes it, and others that ask meanwhile wait for it."""
        return self._opened.remember(name, make)

    def refresh(self) -> Self:
        """See the newest state; a snapshot stays as it is."""
        self._opened = Opened(self.location, self.snapshot_name)
        return self

    def close(self) -> None:
        """Give back the connections and what was kept in memory; the object opens others when it needs them."""
        self._opened = self._opened.without_memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sql(
        self, query: str, parameters: Sequence[object] | None = None, *, seconds: float = SECONDS_LIMIT
    ) -> pa.Table:
        """Run one SELECT over the views and fetch the result; nothing else can be reached or changed.

        Parameters
        ----------
        parameters
            Values for the question marks in ``query``.
        seconds
            Time that the query may take.

        Raises
        ------
        QueryError
            When the query is refused, fails, or takes too long or too much memory.
        """
        with self.reading() as reader:
            return reader.locked_database.sql(query, parameters, seconds=seconds)

    def query(self, query: str, parameters: Sequence[object] | None = None) -> pa.Table:
        """Run SQL of your own program over the views, unguarded: never pass it what somebody typed.

        Raises
        ------
        QueryError
            With DuckDB's own words.
        """
        with self.reading() as reader:
            return reader.database.query(query, parameters)

    def has(self, table: str) -> bool:
        """Whether this state has the table ``table``."""
        return table in self.state.tables or (table == "embeddings" and bool(self.layout.revisions()))

    @property
    def synthetic(self) -> bool:
        """True when any image is one that `featurestore sample` drew."""
        return self.query("SELECT coalesce(bool_or(synthetic), false) AS s FROM images")["s"][0].as_py()

    @property
    def failing_views(self) -> dict[str, str]:
        """The views of your own that can't be used in this state, and why; all others can."""
        found = self.database.failing_views() if self.state.views else {}
        return {name: failure.sentence(name) for name, failure in found.items()}

    def columns(self, view: str) -> list[str]:
        """The names of the columns of a view, in their order.

        Raises
        ------
        InputError
            When there is no such view.
        QueryError
            When it is one of your own that can't be used.
        """
        names = self.database.columns(view)
        if names is not None:
            return names
        if view in self.state.views:  # its name can't be that of a view
            raise QueryError(self.failing_views[view])
        hint = nearest(view, [name for name in self.database.views if not name.startswith("_")])
        raise InputError(f"the store has no view {view!r} ({hint})")

    @contextmanager
    def reading(self) -> Iterator[Self]:
        """Run the block over the reader that it yields, which sees this state whatever other threads do to this one.

        Raises
        ------
        StoreError
            When it fails because `gc` removed parts that this state refers to, and there is a newer state.
        """
        reader = object.__new__(type(self))
        reader.__dict__.update(self.__dict__)
        try:
            yield reader
        except (IntegrityError, QueryError) as error:
            if not reader._tidied_away():
                raise
            raise StoreError(
                f"the store {self.location!r} was tidied by another process after this reader opened it, and what the "
                "reader saw is gone: call `refresh()`, or open the store again"
            ) from error

    def _tidied_away(self) -> bool:
        """Whether the store has another state by now, and files of the one seen here are gone."""
        if self.snapshot_name is not None or read_state(self.objects).id == self.state.id:
            return False
        layout = self._opened.known_layout  # not read yet: reading it is what failed
        return layout is None or layout.is_gone()
