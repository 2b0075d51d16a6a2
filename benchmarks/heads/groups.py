"""Groups of duplicates inside a training part: who gets them, and which rows are copies of each other."""

import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray


def group_numbers(groups: Any) -> NDArray[np.int64] | None:
    """The group of each row ``(n,)`` as a number from 0 on, in order of appearance.

    None where no two rows are copies, or all are: then no row can be held out with its copies.
    """
    if groups is None:
        return None
    _, first, numbers = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    if len(first) in (1, len(numbers)):
        return None
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[numbers]


def copies(groups: Any) -> list[NDArray[np.int64]]:
    """The rows that have copies: for each size of a group an array ``(number of groups, size)`` of row numbers."""
    numbers = group_numbers(groups)
    if numbers is None:
        return []
    order = np.argsort(numbers, kind="stable")
    sizes = np.bincount(numbers)
    starts = np.cumsum(sizes) - sizes
    return [order[starts[sizes == size][:, None] + np.arange(size)] for size in np.unique(sizes[sizes > 1]).tolist()]


def takes_groups(model: Any) -> bool:
    """Whether ``model.fit`` has a parameter ``groups``, or is a search of scikit-learn over folds that want groups."""
    try:
        if "groups" in inspect.signature(model.fit).parameters:
            return True
    except (TypeError, ValueError):  # a function without a readable signature
        return False
    from sklearn.model_selection import BaseCrossValidator
    from sklearn.model_selection._search import BaseSearchCV

    folds = getattr(model, "cv", None)
    if not isinstance(model, BaseSearchCV) or not isinstance(folds, BaseCrossValidator):
        return False
    return bool(folds.get_metadata_routing().split.requests.get("groups"))


def fit_with_groups(model: Any, X: Any, y: Any, groups: Any) -> Any:
    """``model`` after its fit to ``X`` ``(n, d)`` and ``y``, with ``groups`` ``(n,)`` where it takes them."""
    more = {"groups": groups} if takes_groups(model) else {}
    model.fit(X, y, **more)
    return model  # what `fit` returns is the head's own business
