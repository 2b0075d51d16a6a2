"""The rows of a view that have an embedding and no label: those that could be labelled next."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan.reading import at_unit_length, column
from featurestore import FeatureStore, has_label
from featurestore.errors import InputError


@dataclass(frozen=True)
class UnlabelledRows:
    """``ids`` ``(n,)`` int32, ascending, and vectors ``X`` ``(n, d)`` float32, as `reading.from_store` makes them."""

    ids: NDArray[np.int32]
    X: NDArray[np.float32]


def without_label(store: FeatureStore, backbone: str, *, view: str, label: str) -> UnlabelledRows:
    """The rows of ``view`` without a ``label``; of images with the same bytes, or the same vector, one.

    Raises
    ------
    InputError
        When the view lacks the column, every row has a label, or none has.
    """
    names = backbone.split("+")
    features = store.features(names if len(names) > 1 else backbone, view=view)
    values = column(features, label, view=view, hint="name the label with --label")
    labelled = np.array([has_label(value) for value in values], bool)
    if not len(labelled):
        raise InputError(f"no row of the view {view!r} has an embedding of {backbone!r}: embed it first")
    if labelled.all():
        raise InputError(
            f"every row of the view {view!r} that has an embedding of {backbone!r} has a {label}: there is nothing to "
            "label next; name a --view that also has rows without one"
        )
    if not labelled.any():
        raise InputError(
            f"no row of the view {view!r} has a {label}: label some images of each class first, drawn at random, then "
            "ask again"
        )
    X = features.X if len(names) == 1 else at_unit_length(features.X, [dim for _, dim in features.dims])
    firsts = _firsts(X, features.groups, np.flatnonzero(~labelled))
    return UnlabelledRows(features.ids[firsts], X[firsts])


def _firsts(X: NDArray[np.float32], groups: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of ``rows`` the first of each group and of each vector."""
    by_group = rows[np.sort(np.unique(groups[rows], return_index=True)[1])]
    by_vector = {X[row].tobytes(): row for row in by_group[::-1].tolist()}
    return np.array(sorted(by_vector.values()), np.int64)
