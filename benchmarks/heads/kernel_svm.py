"""Support vector machines that work on one matrix of products, shared by all penalties and inner folds."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.folds import inner_folds, log_loss_of
from benchmarks.heads.pairwise import fit_sigmoids, probabilities
from benchmarks.heads.scaling import UnitScaler


class KernelSVM(ClassifierMixin, BaseEstimator):
    """A support vector machine on standardised rows; the penalty is chosen, and probabilities calibrated, inside.

    The probabilities are those of ``SVC(probability=True)``, on folds that keep copies together and are drawn once.

    Parameters
    ----------
    kernel
        ``linear``, or ``rbf`` with ``gamma`` one over the mean squared length of the centred training rows, which is
        what scikit-learn calls ``scale``.
    Cs
        Inverse penalties to try.
    tol
        Of the solver.
    """

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        scaling: str = "standard",
        Cs: Sequence[float] = (1.0,),
        tol: float = 1e-3,
        random_state: int = 0,
    ) -> None:
        self.kernel = kernel
        self.scaling = scaling
        self.Cs = Cs
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> "KernelSVM":
        """Learn from ``X`` ``(n, d)`` and ``y`` ``(n,)``; rows of one of ``groups`` ``(n,)`` are held out together."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.scale_ = UnitScaler(self.scaling)
        rows = self.scale_.fit_transform(X)
        products = self._products(rows, rows)
        folds = list(inner_folds(codes, groups, seed=self.random_state))
        best, count = np.inf, len(self.classes_)
        for C in self.Cs:
            scores = self._held_out(products, codes, folds, C)
            sigmoids = fit_sigmoids(scores, codes, count)
            loss = log_loss_of(probabilities(scores, sigmoids, count), codes)
            if loss < best:
                best, self.sigmoids_, self.chosen_ = loss, sigmoids, {"C": C}
        self.model_ = self._machine(self.chosen_["C"]).fit(products, codes)
        self.rows_ = rows
        return self

    def _held_out(self, products: Any, codes: Any, folds: Sequence[tuple[Any, Any]], C: float) -> Any:
        """Scores ``(n, n_pairs)`` of every row by a machine that did not see it; zero where that lacked a class."""
        place = {pair: number for number, pair in enumerate(combinations(range(len(self.classes_)), 2))}
        scores = np.zeros((len(codes), len(place)))
        for train, held in folds:
            model = self._machine(C).fit(products[np.ix_(train, train)], codes[train])
            seen = [place[pair] for pair in combinations(model.classes_.tolist(), 2)]
            scores[np.ix_(held, seen)] = _scores(model, products[np.ix_(held, train)])
        return scores

    def _machine(self, C: float) -> SVC:
        return SVC(C=C, kernel="precomputed", decision_function_shape="ovo", tol=self.tol)

    def _products(self, left: Any, right: Any) -> Any:
        return left @ right.T if self.kernel == "linear" else np.exp(-_distances(left, right))

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        products = self._products(self.scale_.transform(X), self.rows_)
        return probabilities(_scores(self.model_, products), self.sigmoids_, len(self.classes_))

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def _scores(model: SVC, products: Any) -> Any:
    """``(n, n_pairs)``, positive for the first class of each pair; scikit-learn turns the sign where there is one."""
    scores = model.decision_function(products)
    return -scores[:, None] if scores.ndim == 1 else scores


def _distances(left: Any, right: Any) -> Any:
    """Squared Euclidean distances ``(n, m)``."""
    lengths = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    return np.maximum(lengths - 2.0 * (left @ right.T), 0.0)
