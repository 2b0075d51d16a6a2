"""Nearest neighbours by cosine, with their number chosen by leave-one-out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_array, check_is_fitted

from benchmarks.heads.base import Classifier
from benchmarks.heads.folds import log_loss_of
from benchmarks.heads.groups import copies


class CosineNeighbors(ClassifierMixin, BaseEstimator):
    """Votes of the nearest training rows, one row's worth of class rates added: no class is ever impossible.

    One matrix of cosines and one sort serve every number of neighbours.

    Parameters
    ----------
    ks
        Numbers of neighbours to try; those above the number of rows are left out.
    """

    def __init__(self, *, ks: Sequence[int] = (15,)) -> None:
        self.ks = ks

    def fit(self, X: Any, y: Any, groups: Any = None) -> "CosineNeighbors":
        """Learn from ``X`` ``(n, d)`` and ``y`` ``(n,)``; rows of one of ``groups`` ``(n,)`` are held out together."""
        self.classes_, self.codes_ = np.unique(y, return_inverse=True)
        self.rows_ = normalize(check_array(X, dtype=np.float32))
        self.rates_ = np.bincount(self.codes_) / len(self.codes_)
        cosines = self.rows_ @ self.rows_.T
        np.fill_diagonal(cosines, -np.inf)  # a row is no neighbour of its own, nor is a copy of it
        largest = 1
        for members in copies(groups):
            cosines[members[:, :, None], members[:, None, :]] = -np.inf
            largest = members.shape[1]
        possible = [k for k in self.ks if k <= len(self.codes_) - largest] or [1]
        votes = self._votes(cosines, possible)
        self.chosen_ = {"k": possible[int(np.argmin([log_loss_of(proba, self.codes_) for proba in votes]))]}
        return self

    def _votes(self, cosines: Any, ks: Sequence[int]) -> list[Any]:
        """Probabilities ``(n, n_classes)`` for each of ``ks`` neighbours."""
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : max(ks)]
        counts = np.cumsum(np.eye(len(self.classes_))[self.codes_[nearest]], axis=1)
        return [(counts[:, min(k, nearest.shape[1]) - 1] + self.rates_) / (k + 1) for k in ks]

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        proba = self._votes(normalize(check_array(X, dtype=np.float32)) @ self.rows_.T, [self.chosen_["k"]])[0]
        return proba / proba.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def build_knn(*, seed: int, ks: Sequence[int]) -> Classifier:
    """Each vote counts the same: on a few hundred rows weights by distance change nothing."""
    del seed  # nothing here is random
    return CosineNeighbors(ks=tuple(ks))
