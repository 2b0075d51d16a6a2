"""Probabilities from scores: a small logistic regression on out-of-fold scores, Platt's scaling for several classes."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression


def columns(scores: Any) -> Any:
    """Scores as ``(n, k)``, also where two classes share one column."""
    return np.asarray(scores, np.float64).reshape(len(scores), -1)


def calibrator(scores: Any, codes: Any) -> LogisticRegression:
    """A model from scores ``(n, k)``, which must be of rows unseen by their maker, to probabilities.

    Scores are brought to variance 1 by its penalty's weight, so that the penalty means the same for every maker.
    """
    spread = float(np.std(scores)) or 1.0
    return LogisticRegression(C=10.0 / spread**2, max_iter=2000).fit(scores, codes)
