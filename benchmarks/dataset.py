"""What heads learn from: a matrix, coded labels and duplicate groups, taken from a feature view."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from featurestore import FeatureStore
from featurestore.errors import InputError


@dataclass(frozen=True)
class EmbeddingDataset:
    """Rows ready for learning, ascending ``ImgId``.

    Parameters
    ----------
    X
        ``(n, d)`` float32, finite.
    y
        ``(n,)`` int64, places in ``classes``.
    ids
        ``(n,)`` int32.
    groups
        ``(n,)`` int64; rows of one group must never be on both sides of a split.
    missing
        How many labelled rows of the view are left out because a backbone has no embedding of them.
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

    @cached_property
    def data_hash(self) -> str:
        """16 hex digits of ids, labels, classes and vectors: equal data, equal results."""
        digest = hashlib.sha256(repr((self.X.shape, self.classes)).encode())
        for array in (self.ids, self.y, self.X):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def only(self, ids: NDArray[np.int32]) -> "EmbeddingDataset":
        """The rows of these ids, which must all be there."""
        rows = np.searchsorted(self.ids, ids)
        return replace(self, X=self.X[rows], y=self.y[rows], ids=self.ids[rows], groups=self.groups[rows])


def from_store(store: FeatureStore, backbone: str, *, view: str = "labeled", label: str = "Genre1") -> EmbeddingDataset:
    """The rows of ``view`` that have a label and an embedding of ``backbone``.

    Raises
    ------
    InputError
        When the view lacks the label column, holds fewer than two classes, or has no embedded row.
    """
    features = store.features(backbone, view=view)
    if label not in features.table.column_names:
        have = ", ".join(features.table.column_names)
        raise InputError(f"the view {view!r} has no column {label!r} (it has: {have}): name the label with --label")
    labels = features.table[label].to_pylist()
    kept = np.array([value is not None for value in labels], bool)
    if not kept.any():
        raise InputError(
            f"no row of the view {view!r} has both a {label} and an embedding of {backbone!r}: embed it first"
        )
    names = np.array([str(value) for value in labels if value is not None])
    classes, y = np.unique(names, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"{label} has one class only in the view {view!r} ({classes[0]!r}): nothing to tell apart")
    return EmbeddingDataset(
        X=features.X if kept.all() else features.X[kept],
        y=y.astype(np.int64),
        ids=features.ids[kept],
        groups=features.groups[kept],
        classes=tuple(classes.tolist()),
        backbone=backbone,
        revision=features.revision,
        view=view,
        label=label,
        state_id=features.state_id,
        synthetic=features.synthetic,
        missing=features.missing,
    )


def aligned(datasets: Sequence[EmbeddingDataset]) -> list[EmbeddingDataset]:
    """The same rows in every dataset: those that all have, so that all heads meet the same splits.

    Raises
    ------
    InputError
        When no row is in all of them, or a class is left with no row.
    """
    common = datasets[0].ids
    for dataset in datasets[1:]:
        common = np.intersect1d(common, dataset.ids)
    rows = max(len(dataset.ids) + dataset.missing for dataset in datasets)
    cut = [replace(dataset.only(common), missing=rows - len(common)) for dataset in datasets]
    if not len(common) or any(one.classes != cut[0].classes for one in cut):
        names = ", ".join(dataset.backbone for dataset in datasets)
        raise InputError(f"the backbones {names} share no complete set of rows: embed the same images with each")
    return cut
