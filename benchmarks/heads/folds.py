"""The inner folds on which heads choose and calibrate; always inside the training part."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold

from benchmarks.heads.groups import group_numbers

INNER_FOLDS = 3


def inner_folds(y: Any, groups: Any = None, *, seed: int) -> Iterator[tuple[Any, Any]]:
    """Three stratified folds, two where a class has two images only: pairs of row numbers, training and held out.

    The copies of an image are in one fold: what is divided are groups, each with the class of its first row. (For
    rows without copies these are the folds of `StratifiedKFold`; `StratifiedGroupKFold` takes a hundred times as long.)

    Raises
    ------
    ValueError
        When ``y`` has several classes and the training rows of a fold have one.
    """
    y, numbers = np.asarray(y), group_numbers(groups)
    codes = y if numbers is None else y[np.unique(numbers, return_index=True)[1]]
    rarest = int(np.unique(codes, return_counts=True)[1].min())
    folds = StratifiedKFold(min(INNER_FOLDS, max(2, rarest)), shuffle=True, random_state=seed)
    several = len(np.unique(y)) > 1
    for train, held in folds.split(np.zeros(len(codes)), codes):
        if numbers is not None:
            train, held = (np.flatnonzero(np.isin(numbers, part)) for part in (train, held))
        if several and len(np.unique(y[train])) == 1:
            raise ValueError("a class has a single image, so that no fold without it has two classes: give it a second")
        yield train, held


def log_loss_of(proba: Any, codes: Any) -> float:
    """Mean negative log probability of the true classes, in nats: what inner choices minimise."""
    return float(-np.log(np.clip(proba[np.arange(len(codes)), codes], 1e-7, 1.0)).mean())
