"""Several labels a row: one model a label, each against the rest."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.base import Classifier
from benchmarks.heads.groups import fit_with_groups
from benchmarks.heads.probabilities import on_all_classes


class OneVsRest:
    """A classifier a label; one that is constant in the training part is answered with its rate.

    Parameters
    ----------
    build
        Makes a new two-class classifier.
    """

    def __init__(self, build: Callable[[], Classifier]) -> None:
        self.build = build

    def fit(self, X: NDArray[np.float32], y: NDArray[np.int64], groups: Any = None) -> "OneVsRest":
        """Learn from ``X`` ``(n, d)`` and ``y`` ``(n, n_labels)`` of 0 and 1; ``groups`` ``(n,)`` as for any head."""
        self.classes_ = np.arange(y.shape[1])
        self.rates_ = y.mean(axis=0)
        self.models_ = [
            fit_with_groups(self.build(), X.copy(), column.copy(), groups) if 0 < rate < 1 else None
            for column, rate in zip(y.T, self.rates_, strict=True)
        ]
        return self

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """``(n, d)`` → ``(n, n_labels)``, each in [0, 1]."""
        columns: list[Any] = [
            np.full(len(X), rate)
            if model is None
            else on_all_classes(model, model.predict_proba(X.copy()), n_rows=len(X), n_classes=2)[:, 1]
            for model, rate in zip(self.models_, self.rates_, strict=True)
        ]
        return np.clip(np.column_stack(columns), 0.0, 1.0).astype(np.float64)
