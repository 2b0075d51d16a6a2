"""The inner folds on which heads choose and calibrate; always inside the training part."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold

INNER_FOLDS = 3


def inner_folds(y: Any, *, seed: int) -> Iterator[tuple[Any, Any]]:
    """Three stratified folds, two where a class has two rows only: pairs of row numbers, training and held out."""
    rarest = int(np.unique(y, return_counts=True)[1].min())
    folds = StratifiedKFold(min(INNER_FOLDS, max(2, rarest)), shuffle=True, random_state=seed)
    return folds.split(np.zeros(len(y)), y)


def log_loss_of(proba: Any, codes: Any) -> float:
    """Mean negative log probability of the true classes, in nats: what inner choices minimise."""
    return float(-np.log(np.clip(proba[np.arange(len(codes)), codes], 1e-7, 1.0)).mean())
