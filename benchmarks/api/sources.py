"""What a comparison learns from: a store, or arrays; each is checked first and compared in the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.api.arguments import Columns, listed, store_of, text
from benchmarks.api.asked import Asked
from benchmarks.api.comparison import Comparison
from benchmarks.api.kept import InMemory, InStore, temporary_store
from benchmarks.plan.arrays import DOMAIN, LABEL, from_arrays
from benchmarks.plan.given import COLUMN
from benchmarks.plan.groups import Grouping
from benchmarks.plan.near import grouped_arrays
from benchmarks.report.tables import tables
from benchmarks.run.runner import stored_datasets
from featurestore import FeatureStore
from featurestore.errors import InputError

VIEW = "labeled"


@dataclass(frozen=True)
class StoreSource:
    """Backbones over a view of a store, by its path or open."""

    data: Any
    backbones: Sequence[str]
    view: str
    label: str | None
    columns: Columns

    def compared(self, asked: Asked) -> Comparison:
        """Run what is asked, with its results in the store."""
        store = store_of(self.data)
        protocols = [asked.protocol]
        datasets = stored_datasets(
            store, self.backbones, view=self.view, label=self.label, protocols=protocols, grouping=asked.grouping
        )
        run_id = asked.run(store, datasets)
        if isinstance(self.data, FeatureStore):
            self.data.refresh()  # as after its own verbs that write
        return Comparison(tables(store, run_id=run_id, rank_by=asked.rank_by)[0], InStore(store), run_id)


@dataclass(frozen=True)
class ArraySource:
    """Matrices by name with labels, and for each row a word such as train or test, and a domain."""

    matrices: Mapping[str, Any]
    y: Any
    groups: Any
    label: str
    sides: Any
    domains: Any

    @property
    def columns(self) -> Columns:
        """What sentences call ``sides`` and ``domains``."""
        return Columns(None if self.sides is None else COLUMN, None if self.domains is None else DOMAIN)

    def compared(self, asked: Asked) -> Comparison:
        """Run what is asked; its results are kept in memory."""
        datasets = from_arrays(
            self.matrices, self.y, groups=self.groups, split=self.sides, by=self.domains, label=self.label
        )
        datasets = grouped_arrays(datasets, asked.grouping)
        with temporary_store() as store:
            run_id = asked.run(store, datasets)
            return Comparison(tables(store, run_id=run_id, rank_by=asked.rank_by)[0], InMemory.of(store), run_id)


def source_of(
    data: Any,
    y: Any,
    groups: Any,
    *,
    backbones: Any,
    view: Any,
    label: Any,
    split: Any,
    by: Any,
    grouping: Grouping,
) -> StoreSource | ArraySource:
    """What `compare` is given to learn from.

    Raises
    ------
    InputError
        When an argument has no meaning for the kind of ``data``, or names nothing.
    """
    names = listed(backbones)
    for name, value in [("view", view), ("label", label), *(("backbones", one) for one in names)]:
        text(value, name)
    if isinstance(data, FeatureStore | str | Path):
        _refuse("a store, which has labels and duplicates of its own", y=y, groups=groups)
        for name, value in (("split", split), ("by", by)):
            if value is not None and not isinstance(value, str):
                raise InputError(f"got {type(value).__name__} as {name}, expected the name of a column")
        return StoreSource(data, names, view, label, Columns(split, by))
    _refuse("arrays: name matrices as in {'clip': X}", backbones=backbones, view=None if view == VIEW else view)
    if grouping.hash_distance != Grouping().hash_distance:
        raise InputError("got hash_distance for arrays, which have no images: leave hash_distance out")
    for name, value, such in (("split", split, "a word such as train or test"), ("by", by, "a number, date or text")):
        if isinstance(value, str):
            raise InputError(f"got str as {name}, expected {such} for each row")
    return ArraySource(data if isinstance(data, Mapping) else {"X": data}, y, groups, label or LABEL, split, by)


def _refuse(what: str, **given: Any) -> None:
    """Refuse arguments that have no meaning for the kind of data."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"got {name} for {what}: leave {name} out")
