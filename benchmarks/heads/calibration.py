"""Probabilities from scores of rows unseen by their maker: Platt's scaling for several classes, and temperature."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.folds import inner_folds, log_loss_of

# Divisors of logits that are tried: from four times as sure to an eighth.
TEMPERATURES = np.geomspace(0.25, 8.0, 41)
# No class is less probable than this before a temperature is applied: a logit of minus infinity would stay one.
LEAST_LOGIT = -30.0


def columns(scores: Any) -> Any:
    """Scores as ``(n, k)``, also where two classes share one column."""
    return np.asarray(scores, np.float64).reshape(len(scores), -1)


def calibrator(scores: Any, codes: Any) -> LogisticRegression:
    """A model from scores ``(n, k)``, which must be of rows unseen by their maker, to probabilities.

    Scores are brought to variance 1 by its penalty's weight, so that the penalty means the same for every maker.
    """
    spread = float(np.std(scores)) or 1.0
    return LogisticRegression(C=10.0 / spread**2, max_iter=2000).fit(scores, codes)


def softmax(logits: Any) -> Any:
    """``(n, n_classes)`` logits → probabilities."""
    raised = np.exp(np.maximum(logits - logits.max(axis=1, keepdims=True), LEAST_LOGIT))
    return raised / raised.sum(axis=1, keepdims=True)


def temperature(logits: Any, codes: Any) -> float:
    """What held-out ``logits`` ``(n, n_classes)`` are divided by for the least log loss (Guo et al., ICML 2017)."""
    losses = [log_loss_of(softmax(logits / one), codes) for one in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(losses))])


class Calibrated(ClassifierMixin, BaseEstimator):
    """A classifier without probabilities, with scikit-learn's calibration on inner folds that keep copies together.

    Parameters
    ----------
    model
        Unfitted; a clone of it is fitted.
    """

    def __init__(self, model: Any = None, random_state: int = 0) -> None:
        self.model = model
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> "Calibrated":
        """Learn from ``X`` ``(n, d)`` and ``y`` ``(n,)``; rows of one of ``groups`` ``(n,)`` stay together."""
        folds = list(inner_folds(y, groups, seed=self.random_state))
        self.model_ = CalibratedClassifierCV(clone(self.model), cv=folds, ensemble=False).fit(X, y)
        self.model_.cv = None  # row numbers are no part of a model that is saved
        self.classes_ = self.model_.classes_
        return self

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        return self.model_.predict_proba(X)

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
