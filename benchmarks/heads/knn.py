"""Nearest neighbours by cosine, weighted by a softmax; their number is chosen by leaving out a row and its copies."""

from collections.abc import Sequence
from itertools import product
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
    taus
        Temperatures to try: a neighbour weighs ``exp(cosine / tau)`` (Wu et al., CVPR 2018); with infinity all weigh
        the same.
    """

    def __init__(self, *, ks: Sequence[int] = (15,), taus: Sequence[float] = (np.inf,)) -> None:
        self.ks = ks
        self.taus = taus

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
        possible = [k for k in sorted(self.ks) if k <= len(self.codes_) - largest] or [1]
        votes = self._votes(cosines, possible, self.taus)
        best = int(np.argmin([log_loss_of(proba, self.codes_) for proba in votes]))
        tau, k = list(product(self.taus, possible))[best]
        self.chosen_: dict[str, Any] = {"k": k, "tau": tau}
        return self

    def _votes(self, cosines: Any, ks: Sequence[int], taus: Sequence[float]) -> list[Any]:
        """Probabilities ``(n, n_classes)`` for each of ``ks`` neighbours, ascending, with each of ``taus``."""
        nearest = np.argsort(-cosines, axis=1, kind="stable")[:, : max(ks)]
        near, voted = np.take_along_axis(cosines, nearest, axis=1), self.codes_[nearest]
        starts = [0, *ks[:-1]]
        found = []
        for tau in taus:
            # Weights are sums of parts between one number of neighbours and the next.
            weights = np.exp((near - near[:, :1]) / tau, dtype=np.float64)
            parts = [
                np.add.reduceat(np.where(voted == code, weights, 0.0), starts, axis=1)
                for code in range(len(self.classes_))
            ]
            sums = np.cumsum(np.stack(parts, axis=2), axis=1)
            shares = sums / sums.sum(axis=2, keepdims=True)
            found += [(shares[:, place] * k + self.rates_) / (k + 1) for place, k in enumerate(ks)]
        return found

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        cosines = normalize(check_array(X, dtype=np.float32)) @ self.rows_.T
        proba = self._votes(cosines, [self.chosen_["k"]], [self.chosen_["tau"]])[0]
        return proba / proba.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def build_knn(*, seed: int, ks: Sequence[int], taus: Sequence[float]) -> Classifier:
    """On a few hundred rows a choice among several temperatures is worse than one that is given."""
    del seed  # nothing here is random
    return CosineNeighbors(ks=tuple(ks), taus=tuple(taus))
