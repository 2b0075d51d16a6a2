"""What heads learn from: a matrix, coded labels and duplicate groups, taken from a feature view."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan.across import Domains
from benchmarks.plan.groups import Grouping, NearGroups, union
from featurestore.errors import InputError


@dataclass(frozen=True)
class EmbeddingDataset:
    """Rows ready for learning, ascending ``ImgId``.

    Parameters
    ----------
    X
        ``(n, d)`` float32, finite.
    y
        ``(n,)`` int64, places in ``classes``; in a multi-label task ``(n, n_classes)`` int64 of 0 and 1.
    ids
        ``(n,)`` int32.
    groups
        ``(n,)`` int64; rows of one group must never be on both sides of a split: byte-identical images, and rows whose
        vectors of a backbone are equal.
    missing
        How many labelled rows of the view are left out because a backbone has no embedding of them.
    unlabelled
        How many rows of the view have no label.
    rare
        How many rows of a multi-label task are left out because none of their labels has `MIN_LABEL_ROWS` rows.
    split
        What the view's split column holds in each row, ``""`` where nothing; None where no column was named. No part of
        `data_hash`: a split has a hash of its own.
    near, grouping
        Near-duplicates that are not in one group, and how rows were grouped: see `near.grouped`.
    corrected
        ``(m,)`` int32: the images whose label is another than was read, by corrections in the store. No part of
        `data_hash`, which depends on the labels themselves.
    domains
        What the view's column of domains holds in each row; None where no column was named. No part of `data_hash`.
    """

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    ids: NDArray[np.int32]
    groups: NDArray[np.int64]
    classes: tuple[str, ...]
    backbone: str
    revision: str
    view: str
    label: str
    state_id: str
    synthetic: bool
    missing: int = 0
    unlabelled: int = 0
    rare: int = 0
    split: tuple[str, ...] | None = None
    near: tuple[NearGroups, ...] = ()
    grouping: Grouping = field(default_factory=Grouping)
    domains: Domains | None = None
    corrected: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))

    @property
    def task(self) -> str:
        """``multiclass`` or ``multilabel``."""
        return "multiclass" if self.y.ndim == 1 else "multilabel"

    @cached_property
    def strata(self) -> NDArray[np.int64]:
        """``(n,)`` int64: the class by which splits are stratified; with several labels a row's rarest one."""
        if self.y.ndim == 1:
            return self.y
        return np.where(self.y > 0, self.y.sum(axis=0), len(self.y) + 1).argmin(axis=1)

    @cached_property
    def data_hash(self) -> str:
        """16 hex digits of ids, labels, classes and vectors: equal data, equal results."""
        digest = hashlib.sha256(repr((self.X.shape, self.classes)).encode())
        for array in (self.ids, self.y, self.X):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @cached_property
    def labels_hash(self) -> str:
        """16 hex digits of ids, labels and classes, whatever the vectors: what all backbones of a run share."""
        digest = hashlib.sha256(repr((self.y.shape, self.classes)).encode())
        for array in (self.ids, self.y):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def class_counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(n_classes,)`` int64: how many of ``rows`` have each class, in a multi-label task each label."""
        y = self.y[rows]
        return y.sum(axis=0) if y.ndim == 2 else np.bincount(y, minlength=len(self.classes))

    def only(self, ids: NDArray[np.int32]) -> "EmbeddingDataset":
        """The rows of these ids, which must all be there."""
        rows = np.searchsorted(self.ids, ids)
        split = None if self.split is None else tuple(self.split[row] for row in rows.tolist())
        cut = {name: getattr(self, name)[rows] for name in ("X", "y", "ids", "groups")}
        return replace(self, **cut, split=split, domains=None if self.domains is None else self.domains.only(rows))


def shuffled(dataset: EmbeddingDataset, *, seed: int) -> EmbeddingDataset:
    """The same rows with shuffled labels: nothing can be learned, so that a score above chance is a leak."""
    order = np.random.default_rng(seed).permutation(len(dataset.y))
    return replace(dataset, y=dataset.y[order])


def aligned(datasets: Sequence[EmbeddingDataset]) -> list[EmbeddingDataset]:
    """The same rows and groups in every dataset, so that all heads get the same splits.

    The rows are those that all have; a group holds the rows that are in one group of any of them.

    Raises
    ------
    InputError
        When no row is in all of them, or a class is left with no row.
    """
    common = datasets[0].ids
    for dataset in datasets[1:]:
        common = np.intersect1d(common, dataset.ids)
    rare = min(dataset.rare for dataset in datasets)
    labelled = max(len(dataset.ids) + dataset.missing + dataset.rare for dataset in datasets)
    cut = [replace(dataset.only(common), missing=labelled - rare - len(common), rare=rare) for dataset in datasets]
    if not len(common) or any(one.classes != cut[0].classes for one in cut):
        names = ", ".join(dataset.backbone for dataset in datasets)
        raise InputError(f"the backbones {names} share no complete set of rows: embed the same images with each")
    groups = union([dataset.groups for dataset in cut])
    return [replace(dataset, groups=groups) for dataset in cut]
