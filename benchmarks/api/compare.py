"""`compare`: heads over backbones of a store, or over arrays, in one call."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.api.arguments import heads_of, limits_of, listed, protocol_of, store_of, text, whole
from benchmarks.api.comparison import Comparison
from benchmarks.api.kept import InMemory, InStore, temporary_store
from benchmarks.api.shown import shown
from benchmarks.heads.base import HeadSpec
from benchmarks.plan.arrays import LABEL, from_arrays
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.given import COLUMN
from benchmarks.plan.protocols import Protocol
from benchmarks.report.tables import tables
from benchmarks.run.limits import Limits
from benchmarks.run.pool import refuse_worker
from benchmarks.run.runner import run_datasets, stored_datasets
from featurestore import FeatureStore
from featurestore.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

VIEW = "labeled"


def compare(
    data: Any,
    y: "ArrayLike | Sequence[Any] | None" = None,
    *,
    groups: "ArrayLike | None" = None,
    heads: Any = None,
    backbones: str | Sequence[str] | None = None,
    protocol: str | Protocol = "cv",
    folds: int = 5,
    repeats: int | None = None,
    seed: int = 0,
    seeds: int = 1,
    reference: str | None = None,
    view: str = VIEW,
    label: str | None = None,
    split: Any = None,
    workers: int | None = None,
    time_limit: float = 600.0,
    memory_limit: int | None = None,
    quick: bool = False,
    progress: bool = True,
) -> Comparison:
    """Fit every head on every split, and say which differences are significant; as `benchmarks run`, with its names.

    Parameters
    ----------
    data
        A store, by its path or open: what is computed is stored there and never computed again. Or ``X`` ``(n, d)``
        with ``y``, or several such matrices of the same rows by name, ``{"clip": X1, "dino": X2}``.
    y, groups
        Of arrays: a label for each row, or a list of labels, or ``(n, n_labels)`` of 0 and 1; and a value for each row,
        equal for duplicates, which stay on one side of each split. When None, equal vectors are duplicates.
    heads
        Names (`benchmarks heads` lists them), functions marked with `benchmarks.head`; those of the protocol when None.
    backbones, view, label
        Of a store: each of its backbones, its labelled images and their label, unless named.
    split
        For the protocol ``given``: the column of the view that says train or test; of arrays a word for each row.
    quick
        A first look: one repeat, no measurement of costs.

    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(60, 8))
    >>> compare(X, X[:, 0] > 0, heads=["ridge", "knn"], quick=True, progress=False).best.backbone
    'X'
    """
    refuse_worker()
    named = _checked(seeds, view, label, backbones)
    stored = isinstance(data, FeatureStore | str | Path)
    column = _column(split, stored=stored)
    drawn = protocol_of(protocol, folds=folds, repeats=repeats, seed=seed, column=column, quick=quick)
    limits = limits_of(workers=workers, time_limit=time_limit, memory_limit=memory_limit)
    with tempfile.TemporaryDirectory(prefix="heads-") as folder:
        asked = _Asked(heads_of(heads, Path(folder)), drawn, seed, seeds, reference, limits, quick, progress)
        if stored:
            _refuse("a store, which has labels and duplicates of its own", y=y, groups=groups)
            return _over_store(data, asked, named, view=view, label=label)
        _refuse("arrays: name matrices as in {'clip': X}", backbones=backbones, view=None if view == VIEW else view)
        matrices = data if isinstance(data, Mapping) else {"X": data}
        return _over_arrays(from_arrays(matrices, y, groups=groups, split=split, label=label or LABEL), asked)


@dataclass(frozen=True)
class _Asked:
    """What to do, whatever the data."""

    heads: Sequence[HeadSpec]
    protocol: Protocol
    seed: int
    seeds: int
    reference: str | None
    limits: Limits
    quick: bool
    progress: bool

    def of(self, store: FeatureStore, datasets: Sequence[EmbeddingDataset]) -> str:
        """Run it with its results in ``store``; the id of the run."""
        with shown(self.progress) as (on_progress, on_cost):
            (report,) = run_datasets(
                store,
                datasets,
                heads=self.heads,
                protocols=[self.protocol],
                seed=self.seed,
                seeds=self.seeds,
                reference=self.reference,
                cost=not self.quick,
                limits=self.limits,
                on_progress=on_progress,
                on_cost=on_cost,
            )
        return report.run_id


def _over_store(data: Any, asked: _Asked, backbones: Sequence[str], *, view: str, label: str | None) -> Comparison:
    store = store_of(data)
    datasets = stored_datasets(store, backbones, view=view, label=label, protocols=[asked.protocol])
    run_id = asked.of(store, datasets)
    if isinstance(data, FeatureStore):
        data.refresh()  # as after its own verbs that write
    return Comparison(tables(store, run_id=run_id)[0], InStore(store), run_id)


def _over_arrays(datasets: Sequence[EmbeddingDataset], asked: _Asked) -> Comparison:
    with temporary_store() as store:
        run_id = asked.of(store, datasets)
        return Comparison(tables(store, run_id=run_id)[0], InMemory.of(store), run_id)


def _checked(seeds: Any, view: Any, label: Any, backbones: Any) -> list[str]:
    """The backbones as a list; refuse what is no number of seeds or no name."""
    whole(seeds, "seeds", least=1)
    names = listed(backbones)
    for name, value in [("view", view), ("label", label), *(("backbones", one) for one in names)]:
        text(value, name)
    return names


def _column(split: Any, *, stored: bool) -> str | None:
    """The name of the split's column; of arrays, which have none, any."""
    if split is None or (stored and isinstance(split, str)):
        return split
    if stored or isinstance(split, str):
        expected = "the name of a column" if stored else "a word such as train or test for each row"
        raise InputError(f"got {type(split).__name__} as split, expected {expected}")
    return COLUMN


def _refuse(what: str, **given: Any) -> None:
    """Refuse arguments that have no meaning for the kind of data."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"got {name} for {what}: leave {name} out")
