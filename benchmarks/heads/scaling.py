"""Scaling of input columns, and principal coordinates: an exact reduction to the span of the training rows."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

SCALINGS = ("raw", "l2", "standard")


class UnitScaler(TransformerMixin, BaseEstimator):
    """Centre the columns and scale, so that the mean squared length of the training rows is 1.

    One grid of penalties then fits every backbone and every width.

    Parameters
    ----------
    scaling
        ``raw``: columns as they are; ``l2``: rows of length 1 first; ``standard``: columns of variance 1 first.
    """

    def __init__(self, scaling: str = "standard") -> None:
        self.scaling = scaling

    def fit(self, X: Any, y: Any = None) -> "UnitScaler":
        """Learn means and factors of ``X`` ``(n, d)``.

        Raises
        ------
        ValueError
            When ``X`` holds NaN or infinity, or the scaling is unknown.
        """
        if self.scaling not in SCALINGS:
            raise ValueError(f"got scaling={self.scaling!r}, expected one of {', '.join(SCALINGS)}")
        rows = self._rows(X)
        self.mean_ = rows.mean(axis=0)
        spread = rows.std(axis=0)
        # A column that is constant up to rounding carries nothing: leave it small instead of blowing up its noise.
        constant = spread <= 1e-7 * np.maximum(np.abs(self.mean_), 1e-30)
        factor = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, spread))
        self.factor_ = factor if self.scaling == "standard" else np.ones_like(spread)
        length = np.sqrt(float(((self.factor_ * spread) ** 2).sum()))
        self.factor_ = self.factor_ / (length or 1.0)
        return self

    def transform(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, d)`` float64."""
        check_is_fitted(self)
        return (self._rows(X) - self.mean_) * self.factor_

    def _rows(self, X: Any) -> Any:
        rows = check_array(X, dtype=np.float64)
        if self.scaling != "l2":
            return rows
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


class PrincipalCoordinates(TransformerMixin, BaseEstimator):
    """`UnitScaler`, then a rotation into the span of the training rows: ``min(n, d)`` columns instead of ``d``.

    Distances and products between training rows, and between them and any other row, stay as they are, so every method
    that depends on these alone (ridge, L2 logistic regression, kernels) predicts the same from far fewer columns.
    The axes are the principal components, by falling variance.

    Parameters
    ----------
    components
        Keep only so many; all of them when None.
    """

    def __init__(self, scaling: str = "standard", components: int | None = None) -> None:
        self.scaling = scaling
        self.components = components

    def fit(self, X: Any, y: Any = None) -> "PrincipalCoordinates":
        """Learn scale and axes."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """Learn scale and axes and return the coordinates ``(n, r)`` float64 of ``X`` ``(n, d)``."""
        self.scale_ = UnitScaler(self.scaling)
        rows = self.scale_.fit_transform(X)
        wide = rows.shape[1] > rows.shape[0]
        values, vectors = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
        kept = np.flatnonzero(values > 1e-10 * max(values[-1], 1e-300))[::-1][: self.components]
        self.axes_ = rows.T @ (vectors[:, kept] / np.sqrt(values[kept])) if wide else vectors[:, kept]
        if not len(kept):  # all rows are equal
            self.axes_ = np.zeros((rows.shape[1], 1))
        return rows @ self.axes_

    def transform(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, r)`` float64."""
        check_is_fitted(self)
        return self.scale_.transform(X) @ self.axes_
