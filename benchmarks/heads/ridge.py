"""Ridge regression on class indicators with the penalty chosen by closed-form leave-one-out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.base import Classifier
from benchmarks.heads.calibration import calibrator
from benchmarks.heads.groups import copies
from benchmarks.heads.scaling import SCALINGS, PrincipalCoordinates


class LeaveOneOutRidge(ClassifierMixin, BaseEstimator):
    """Chooses scaling and penalty by the squared leave-one-out error; probabilities from the leave-one-out scores.

    In principal coordinates every penalty costs one product: the residual without row i is ``e_i / (1 - h_ii)``
    (Hastie, Tibshirani, Friedman, The Elements of Statistical Learning, 2nd ed., eq. 7.64). A row that has copies is
    left out together with them.

    Parameters
    ----------
    alphas
        Penalties to try, for rows of mean squared length 1.
    """

    def __init__(self, *, scalings: Sequence[str] = SCALINGS, alphas: Sequence[float] = (1.0,)) -> None:
        self.scalings = scalings
        self.alphas = alphas

    def fit(self, X: Any, y: Any, groups: Any = None) -> "LeaveOneOutRidge":
        """Learn from ``X`` ``(n, d)`` and ``y`` ``(n,)``; rows of one of ``groups`` ``(n,)`` are held out together."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        targets = np.where(codes[:, None] == np.arange(len(self.classes_)), 1.0, -1.0)
        self.intercept_ = targets.mean(axis=0)
        best, together = np.inf, copies(groups)
        for scaling in self.scalings:
            space = PrincipalCoordinates(scaling)
            rows = space.fit_transform(X)
            values = (rows**2).sum(axis=0)
            for alpha in self.alphas:
                weights = (rows.T @ (targets - self.intercept_)) / (values + alpha)[:, None]
                residuals = left_out(targets - self.intercept_ - rows @ weights, rows, values + alpha, together)
                error = float((residuals**2).mean())
                if error < best:
                    best, scores = error, targets - residuals
                    self.space_, self.weights_ = space, weights
                    self.chosen_ = {"scaling": scaling, "alpha": alpha}
        self.calibrator_ = calibrator(scores, codes)
        return self

    def decision_function(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``."""
        check_is_fitted(self)
        return self.space_.transform(X) @ self.weights_ + self.intercept_

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        return self.calibrator_.predict_proba(self.decision_function(X))

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def left_out(residuals: Any, rows: Any, values: Any, together: Sequence[Any]) -> Any:
    """Residuals ``(n, k)`` of a fit of all rows → those of each row by the fit without it and its copies.

    Parameters
    ----------
    rows, values
        Principal coordinates ``(n, r)``, and their squared lengths plus the penalty ``(r,)``.
    together
        As `copies` gives them: the residuals of such a group are ``(I - H_gg)⁻¹ e_g``.
    """
    leverage = 1 / len(rows) + (rows**2 / values).sum(axis=1)
    found = residuals / (1 - leverage)[:, None]
    for members in together:
        block = rows[members]
        hat = 1 / len(rows) + (block / values) @ block.transpose(0, 2, 1)
        found[members] = np.linalg.solve(np.eye(members.shape[1]) - hat, residuals[members])
    return found


def build_ridge(*, seed: int, scalings: Sequence[str], alphas: Sequence[float]) -> Classifier:
    """Everything is chosen inside the training part."""
    del seed  # nothing here is random
    return LeaveOneOutRidge(scalings=tuple(scalings), alphas=tuple(alphas))
