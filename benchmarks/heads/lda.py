"""Linear discriminant analysis with Ledoit-Wolf shrinkage of the covariance, calibrated."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.base import Classifier
from benchmarks.heads.calibration import softmax, temperature
from benchmarks.heads.folds import inner_folds, log_loss_of
from benchmarks.heads.scaling import PrincipalCoordinates


class CalibratedLDA(ClassifierMixin, BaseEstimator):
    """Chooses the number of principal components and a temperature on inner folds by log loss.

    Its own probabilities are too sure on many components: the covariance is estimated from the rows that it separates.

    Parameters
    ----------
    components
        How many leading components of the standardised rows to try.
    """

    def __init__(self, *, components: Sequence[int] = (64,), random_state: int = 0) -> None:
        self.components = components
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> "CalibratedLDA":
        """Learn from ``X`` ``(n, d)`` and ``y`` ``(n,)``; rows of one of ``groups`` ``(n,)`` are held out together."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.space_ = PrincipalCoordinates("standard", max(self.components))
        rows = self.space_.fit_transform(X)
        folds = list(inner_folds(codes, groups, seed=self.random_state))
        best = np.inf
        for count in self.components:
            logits = self._held_out(rows[:, :count], codes, folds)
            heat = temperature(logits, codes)
            loss = log_loss_of(softmax(logits / heat), codes)
            if loss < best:
                best, self.chosen_ = loss, {"components": count, "temperature": heat}
        self.model_ = _model().fit(rows[:, : self.chosen_["components"]], codes)
        return self

    def _held_out(self, rows: Any, codes: Any, folds: Sequence[tuple[Any, Any]]) -> Any:
        """Logits ``(n, n_classes)`` of every row by a model that did not see it."""
        logits = np.full((len(codes), len(self.classes_)), -np.inf)
        for train, held in folds:
            model = _model().fit(rows[train], codes[train])
            logits[np.ix_(held, model.classes_)] = model.predict_log_proba(rows[held])
        return logits

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        rows = self.space_.transform(X)[:, : self.chosen_["components"]]
        return softmax(self.model_.predict_log_proba(rows) / self.chosen_["temperature"])

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def _model() -> LinearDiscriminantAnalysis:
    """The estimator shrinks towards equal variances.

    `shrinkage="auto"` would scale every component to variance 1 first, and so raise the noise of the last ones.
    """
    return LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf(store_precision=False))


def build_lda(*, seed: int, components: Sequence[int]) -> Classifier:
    """Few components: the cost of the covariance grows with the cube of the columns, its errors with them."""
    del seed  # the same inner folds whatever the seed
    return CalibratedLDA(components=tuple(components))
