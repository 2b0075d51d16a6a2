"""Reader: one opened state of a store, its connections and what it keeps in memory; it writes nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from featurestore.catalog import snapshots
from featurestore.catalog.connection import connect, run_query
from featurestore.catalog.failing import failing_views
from featurestore.catalog.sandbox import SECONDS_LIMIT, run_guarded
from featurestore.errors import IntegrityError, QueryError, StoreError
from featurestore.storage.layout import Layout
from featurestore.storage.objects import LocalObjects
from featurestore.storage.remote import objects_at
from featurestore.storage.state import State, read_state


class Reader:
    """One state of the store in a folder; what others write later shows after `refresh`.

    Parameters
    ----------
    path
        The store's folder. Nothing is read before it is needed, nothing is locked by reading.

    Attributes
    ----------
    memo
        What readers of this state keep for the next question, under a name of their own; empty after `refresh`.
    """

    def __init__(self, path: str | Path, *, snapshot: str | None = None) -> None:
        self.location = str(path)
        self.snapshot_name = snapshot
        self.memo: dict[str, Any] = {}

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

    @cached_property
    def objects(self) -> LocalObjects:
        """The files of the store; raises as `objects_at`."""
        return objects_at(self.location)

    @property
    def path(self) -> Path:
        """The folder; of a store at an address, that of the cache, which holds what was used so far."""
        return self.objects.root

    @cached_property
    def state(self) -> State:
        """The state that this object sees.

        Raises
        ------
        StoreNotFound
            When there is no store.
        InputError
            When there is no such snapshot.
        """
        if self.snapshot_name is not None:
            read_state(self.objects)
            return snapshots.read(self.objects, self.snapshot_name)
        return read_state(self.objects)

    @cached_property
    def layout(self) -> Layout:
        """The parts of every table."""
        return Layout(self.objects, self.state)

    @cached_property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection, in memory, with the views of this state; it reads no file but the store's parts."""
        return connect(self.layout, self.path)

    @cached_property
    def _guarded(self) -> duckdb.DuckDBPyConnection:
        """Another connection, for text that a user typed: its memory is limited, and its settings are locked."""
        return connect(self.layout, self.path, locked=True)

    def refresh(self) -> Self:
        """See the newest state; a snapshot stays as it is."""
        self.close()
        for name in ("state", "layout"):
            self.__dict__.pop(name, None)
        return self

    def close(self) -> None:
        """Give back the connections and what was kept in memory; the object opens others when it needs them."""
        self.memo.clear()
        for name in ("connection", "_guarded"):
            connection = self.__dict__.pop(name, None)
            if connection is not None:
                connection.close()

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
        with self.reading():
            return run_guarded(self._guarded, query, parameters, seconds=seconds)

    def query(self, query: str, parameters: Sequence[object] | None = None) -> pa.Table:
        """Run SQL of your own program over the views, unguarded: never pass it what somebody typed.

        Raises
        ------
        QueryError
            With DuckDB's own words.
        """
        with self.reading():
            return run_query(self.connection, query, parameters)

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
        found = failing_views(self.connection, self.state) if self.state.views else {}
        return {name: failure.sentence(name) for name, failure in found.items()}

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Run the block, which reads this state.

        Raises
        ------
        StoreError
            When it fails because `gc` removed parts that this state refers to, and there is a newer state.
        """
        try:
            yield
        except (IntegrityError, QueryError) as error:
            if not self._tidied_away():
                raise
            raise StoreError(
                f"the store {self.location!r} was tidied by another process after this reader opened it, and what the "
                "reader saw is gone: call `refresh()`, or open the store again"
            ) from error

    def _tidied_away(self) -> bool:
        """Whether the store has another state by now, and files of the one seen here are gone."""
        if self.snapshot_name is not None or read_state(self.objects).id == self.state.id:
            return False
        return self.layout.is_gone()
