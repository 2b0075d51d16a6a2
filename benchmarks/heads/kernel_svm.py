"""Support vector machines that work on one matrix of products, shared by all penalties and inner folds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.calibration import calibrator, columns
from benchmarks.heads.folds import inner_folds, log_loss_of
from benchmarks.heads.scaling import UnitScaler


class KernelSVM(ClassifierMixin, BaseEstimator):
    """A support vector machine on standardised rows; the penalty is chosen, and probabilities calibrated, inside.

    Parameters
    ----------
    kernel
        ``linear``, or ``rbf`` with ``gamma`` one over the median squared distance of the training rows
        (Gretton et al., A Kernel Two-Sample Test, JMLR 13, 2012).
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
        self.gamma_ = 1.0 / (float(np.median(_distances(rows, rows)[np.triu_indices(len(rows), 1)])) or 1.0)
        products = self._products(rows, rows)
        folds = list(inner_folds(codes, groups, seed=self.random_state))
        tried = [self._held_out(products, codes, folds, C) for C in self.Cs]
        best = int(np.argmin([log_loss_of(calibrator(s, codes).predict_proba(s), codes) for s in tried]))
        self.chosen_ = {"C": self.Cs[best], "gamma": self.gamma_} if self.kernel == "rbf" else {"C": self.Cs[best]}
        self.calibrator_ = calibrator(tried[best], codes)
        self.model_ = self._machine(self.Cs[best]).fit(products, codes)
        self.rows_ = rows
        return self

    def _held_out(self, products: Any, codes: Any, folds: Sequence[tuple[Any, Any]], C: float) -> Any:
        """Scores ``(n, k)`` of every row by a machine that did not see it."""
        width = 1 if len(self.classes_) == 2 else len(self.classes_)
        scores = np.full((len(codes), width), -1.0)
        for train, held in folds:
            model = self._machine(C).fit(products[np.ix_(train, train)], codes[train])
            found = columns(model.decision_function(products[np.ix_(held, train)]))
            if found.shape[1] == width:
                scores[held] = found
            else:  # a class of one row is missing in this part
                scores[np.ix_(held, model.classes_)] = found if found.shape[1] > 1 else np.hstack([-found, found])
        return scores

    def _machine(self, C: float) -> SVC:
        return SVC(C=C, kernel="precomputed", tol=self.tol)

    def _products(self, left: Any, right: Any) -> Any:
        if self.kernel == "linear":
            return left @ right.T
        return np.exp(-self.gamma_ * _distances(left, right))

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        products = self._products(self.scale_.transform(X), self.rows_)
        return self.calibrator_.predict_proba(columns(self.model_.decision_function(products)))

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def _distances(left: Any, right: Any) -> Any:
    """Squared Euclidean distances ``(n, m)``."""
    lengths = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)
    return np.maximum(lengths - 2.0 * (left @ right.T), 0.0)
