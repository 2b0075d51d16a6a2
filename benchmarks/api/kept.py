"""Where a `Comparison` has its results: in the store they were computed in, or in memory; both open as a store."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from featurestore import FeatureStore

# The tables of the bench in a store.
TABLES = (
    *("bench_runs", "bench_run_details", "bench_groups", "bench_corrected", "bench_across"),
    *("bench_cells", "bench_scores", "bench_predictions", "bench_costs"),
)


class Kept(Protocol):
    """Results that can be opened as a store."""

    @property
    def has_images(self) -> bool:
        """Whether the rows are images of a collection, which a report can show."""
        ...

    def opened(self) -> AbstractContextManager[FeatureStore]:
        """Yield the store to a block."""
        ...


@dataclass(frozen=True)
class InStore:
    """Results in a store, as it was when ``store`` was opened."""

    store: FeatureStore
    has_images: bool = True

    @contextmanager
    def opened(self) -> Iterator[FeatureStore]:
        """Yield the store."""
        yield self.store


@dataclass(frozen=True)
class InMemory:
    """The tables of the bench as Arrow tables, by name."""

    tables: Mapping[str, pa.Table]
    has_images: bool = False

    @classmethod
    def of(cls, store: FeatureStore) -> "InMemory":
        """Everything that the bench has stored in ``store``."""
        return cls({name: store.sql(f"SELECT * FROM {name}") for name in TABLES if store.has(name)})

    @contextmanager
    def opened(self) -> Iterator[FeatureStore]:
        """Yield a store that is gone after the block."""
        with temporary_store() as store:
            store.append(self.tables)
            yield store


@contextmanager
def temporary_store() -> Iterator[FeatureStore]:
    """An empty store in a folder that is removed after the block, also after an interrupt."""
    with tempfile.TemporaryDirectory(prefix="comparison-", ignore_cleanup_errors=True) as folder:
        store = FeatureStore(Path(folder, "store"))
        try:
            store.create()
            yield store
        finally:
            store.close()
