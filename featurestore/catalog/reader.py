"""Reader: one opened state of a store with its connections and its in-memory cache; it writes nothing."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import duckdb
import pyarrow as pa

from featurestore.catalog import snapshots
from featurestore.catalog.database import Database
from featurestore.catalog.isolated import sql as run_isolated
from featurestore.catalog.opened import Opened
from featurestore.catalog.recipe import Collection, recipe_named
from featurestore.catalog.sandbox import SECONDS_LIMIT
from featurestore.display import show_tables
from featurestore.errors import InputError, IntegrityError, QueryError, StoreError
from featurestore.storage.layout import Layout
from featurestore.storage.names import nearest
from featurestore.storage.objects import LocalObjects
from featurestore.storage.remote import is_remote
from featurestore.storage.state import State, read_state

Kept = TypeVar("Kept")


class Reader:
    """One state of a store; later commits become visible after `refresh`.

    Any number of threads can use one reader: each has its own cursor, and a read that is in progress finishes on its
    state when another thread calls `refresh` or `close`. A forked child can use it too. Pickling or copying a reader
    opens the same location and snapshot again.

    Parameters
    ----------
    path
        The store's folder, or its address. Nothing is read before it is needed; reading takes no lock.
    """

    def __init__(self, path: str | Path, *, snapshot: str | None = None, isolated: bool = False) -> None:
        self.location = str(path)
        self.isolated = isolated
        self.snapshot_name = snapshot
        self._opened = Opened(self.location, snapshot)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str]]:
        """Open the same location again; a folder by its absolute path, since the working directory may differ."""
        location = self.location if is_remote(self.location) else os.path.abspath(self.location)
        return partial(type(self), snapshot=self.snapshot_name, isolated=self.isolated), (location,)

    @classmethod
    def open(cls, path: str | Path = "store", *, snapshot: str | None = None, isolated: bool = False) -> Self:
        """Open the store in ``path``: a folder, or an address such as ``s3://bucket/store``.

        Parameters
        ----------
        snapshot
            Name of a snapshot to read instead of the current state.
        isolated
            Whether SQL that is given to `sql`, or as ``where``, runs in a process of its own with hard limits of time
            and memory: for SQL that somebody else wrote.

        Raises
        ------
        StoreNotFound
            When there is none. The constructor doesn't check, so that ``FeatureStore(path).ingest(…)`` can create one.
        InputError
            When there is no such snapshot.
        """
        store = cls(path, snapshot=snapshot, isolated=isolated)
        _ = store.state
        return store

    @property
    def objects(self) -> LocalObjects:
        """The files of the store; raises as `storage.remote.objects_at`."""
        return self._opened.objects

    @property
    def path(self) -> Path:
        """The store's folder; for a store at an address, the folder of its cache."""
        return self.objects.root

    @property
    def state(self) -> State:
        """The state that this object reads.

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
        """DuckDB over this state, for trusted SQL of programs."""
        return self._opened.database

    @property
    def locked_database(self) -> Database:
        """DuckDB over this state, for SQL that a user typed; `sql` uses it."""
        return self._opened.locked_database

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """An in-memory DuckDB connection with all views of this state; it can read no file but the store's parts.

        Each thread gets its own. `query` is faster, since it only creates the views that it needs.
        """
        return self.database.complete()

    @property
    def memo(self) -> dict[str, Any]:
        """Values cached for this state, each under its own name; emptied by `refresh`."""
        return self._opened.memo

    def remember(self, name: str, make: Callable[[], Kept]) -> Kept:
        """The value of `memo` for ``name``; if there is none, one thread computes it while others wait for it."""
        return self._opened.remember(name, make)

    def refresh(self) -> Self:
        """Switch to the newest state; a reader of a snapshot stays with it, as `forget` may have left it."""
        self._opened = Opened(self.location, self.snapshot_name)
        return self

    def is_outdated(self) -> bool:
        """Whether the store has a newer state; of a snapshot, whether `forget` has changed it."""
        if self.snapshot_name is not None:
            return snapshots.read(self.objects, self.snapshot_name).id != self.state.id
        return read_state(self.objects).id != self.state.id

    def close(self) -> None:
        """Release connections and cached values; the object opens new ones when it is used again."""
        self._opened = self._opened.without_memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sql(
        self,
        query: str,
        parameters: Sequence[object] | None = None,
        *,
        seconds: float = SECONDS_LIMIT,
        isolated: bool | None = None,
    ) -> pa.Table:
        """Run one SELECT over the views and fetch the result; it can read nothing else and change nothing.

        A Jupyter notebook shows the result, and other Arrow tables from then on, as a table of its first rows.

        Parameters
        ----------
        parameters
            Values for the question marks in ``query``.
        seconds
            Time limit of the query in seconds.
        isolated
            Whether to run it in a process of its own with hard limits, as `featurestore sql` does; None: as the store
            was opened. The first such query starts the process. Without it, the limits do not hold within one call of
            a function.

        Raises
        ------
        QueryError
            When the query is refused, fails, or takes too long or too much memory.
        """
        show_tables()
        with self.reading() as reader:
            if self.isolated if isolated is None else isolated:
                return run_isolated(reader.objects, reader.state, query, parameters, seconds=seconds)
            return reader.locked_database.sql(query, parameters, seconds=seconds)

    @contextmanager
    def batches(self, query: str, parameters: Sequence[object] | None = None) -> Iterator[pa.RecordBatchReader]:
        """Run one SELECT as `sql` does, and yield its result in batches, so that no more than one is in memory.

        Raises
        ------
        QueryError
            When the query is refused or fails; also from the block that reads it. It has no time limit.
        """
        with self.reading() as reader, reader.locked_database.batches(query, parameters) as batches:
            yield batches

    def query(self, query: str, parameters: Sequence[object] | None = None) -> pa.Table:
        """Run trusted SQL over the views without any check: never pass it text that a user typed.

        Raises
        ------
        QueryError
            When the query fails; the message is DuckDB's.
        """
        with self.reading() as reader:
            return reader.database.query(query, parameters)

    def has(self, table: str) -> bool:
        """Whether this state has the table ``table``."""
        return table in self.state.tables or (table == "embeddings" and bool(self.layout.revisions()))

    @property
    def recipe(self) -> Collection:
        """The collection type of this store; raises `InputError` if the package that brings it is not installed."""
        return recipe_named(self.state.collection)

    @property
    def label(self) -> str:
        """The column of `collection` with the default label; raises as `recipe`."""
        return str(self.state.settings.get("label", self.recipe.label))

    @property
    def title(self) -> str:
        """The column of `collection` with a title, or the name, of each image; raises as `recipe`."""
        return str(self.state.settings.get("title", self.recipe.title))

    @property
    def synthetic(self) -> bool:
        """True when any image was generated by `featurestore sample`."""
        return self.query("SELECT coalesce(bool_or(synthetic), false) AS s FROM images")["s"][0].as_py()

    @property
    def failing_views(self) -> dict[str, str]:
        """Your views that can't be used in this state, each with the reason."""
        found = self.database.failing_views() if self.state.views else {}
        return {name: failure.sentence(name) for name, failure in found.items()}

    def columns(self, view: str) -> list[str]:
        """The names of the columns of a view, in order.

        Raises
        ------
        InputError
            When there is no such view.
        QueryError
            When it is one of your views and can't be used.
        """
        names = self.database.columns(view)
        if names is not None:
            return names
        if view in self.state.views:  # the state lists it under an invalid name
            raise QueryError(self.failing_views[view])
        raise InputError(f"the store has no view {view!r} ({nearest(view, self.database.views)})")

    def corrected(self, view: str, column: str) -> list[int]:
        """The ids of the rows of ``view`` whose ``column`` would be another without the corrections of that image.

        Raises
        ------
        QueryError
            When there is no such view or column.
        """
        from featurestore.catalog.corrected import corrected

        with self.reading() as reader:
            return reader.remember(f"corrected {column} of {view}", lambda: corrected(reader, view, column))

    @contextmanager
    def reading(self) -> Iterator[Self]:
        """Yield a reader that stays on this state even if another thread calls `refresh` or `close` on this one.

        Raises
        ------
        StoreError
            When the block fails because `gc` removed parts of this state, and there is a newer state.
        """
        reader = object.__new__(type(self))
        reader.__dict__.update(self.__dict__)
        try:
            yield reader
        except (IntegrityError, QueryError) as error:
            if not reader._is_collected():
                raise
            raise StoreError(
                f"`gc` or `forget` removed files that this reader of the store {self.location!r} needs, there is a "
                "newer state: call `refresh()`, or open the store again"
            ) from error

    def _is_collected(self) -> bool:
        """Whether the store has a newer state, and files of the one read here no longer exist."""
        if not self.is_outdated():
            return False
        layout = self._opened.known_layout  # None: reading it is what failed
        return layout is None or layout.is_gone()
