"""Gradient boosting of LightGBM."""

from typing import Any

from lightgbm import LGBMClassifier

from benchmarks.heads.base import Classifier
from benchmarks.heads.finite import only_finite


class ArrayLGBM(LGBMClassifier):
    """LightGBM on bare arrays: it names the columns it learned from, then warns that arrays have none."""

    def fit(self, X: Any, y: Any) -> "ArrayLGBM":
        """Fit without column names."""
        super().fit(X, y, feature_name=[f"c{i}" for i in range(X.shape[1])])
        return self

    def predict_proba(self, X: Any) -> Any:
        """``(n, n_classes)`` through the booster itself."""
        raw = self.booster_.predict(X, num_threads=1)
        if raw.ndim == 1:
            import numpy as np

            return np.column_stack([1.0 - raw, raw])
        return raw


def make(*, seed: int, rounds: int) -> Classifier:
    """Small trees, few columns each: better where columns outnumber rows, and ten times faster than few a node."""
    model = ArrayLGBM(
        n_estimators=rounds,
        learning_rate=0.05,
        num_leaves=7,
        min_child_samples=20,
        reg_lambda=5.0,
        max_bin=63,
        colsample_bytree=0.1,
        subsample=0.8,
        subsample_freq=1,
        random_state=seed,
        deterministic=True,
        force_row_wise=True,
        n_jobs=1,
        verbose=-1,
    )
    return only_finite(model)
