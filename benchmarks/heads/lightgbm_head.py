"""Gradient boosting of LightGBM."""

from collections.abc import Sequence
from typing import Any

from lightgbm import Booster, LGBMClassifier

from benchmarks.heads.base import Classifier
from benchmarks.heads.input_check import refusing_nan


class ArrayLGBM(LGBMClassifier):
    """LightGBM on bare arrays: it names the columns it learned from, then warns that arrays have none."""

    def fit(self, X: Any, y: Any) -> "ArrayLGBM":
        """Fit without column names."""
        super().fit(X, y, feature_name=[f"c{i}" for i in range(X.shape[1])])
        return self

    def predict_proba(self, X: Any, *, rounds: int | None = None) -> Any:
        """``(n, n_classes)`` through the booster itself, after so many ``rounds`` or all."""
        raw = self.booster_.predict(X, num_threads=1, num_iteration=rounds)
        if raw.ndim == 1:
            import numpy as np

            return np.column_stack([1.0 - raw, raw])
        return raw

    def __getstate__(self) -> dict[str, Any]:
        """Trees as LightGBM's own text, all else as plain values."""
        state = dict(super().__getstate__())
        if state.get("_Booster") is not None:
            state["_Booster"] = self.booster_.model_to_string(num_iteration=-1)
        # What the training recorded: no prediction needs it.
        state["_best_score"], state["_evals_result"] = {}, {}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes and the trees."""
        text = state.get("_Booster")
        super().__setstate__({**state, "_Booster": None if text is None else Booster(model_str=text)})


def predict_path(model: Any, X: Any, values: Sequence[int]) -> list[Any]:
    """Probabilities ``(n, n_classes)`` after each of so many rounds of one fitted model."""
    return [model[-1].predict_proba(X, rounds=rounds) for rounds in values]


def build_lightgbm(*, seed: int, rounds: int, leaves: int) -> Classifier:
    """Small trees, few columns each: better where columns outnumber rows, and ten times faster than few a node."""
    model = ArrayLGBM(
        n_estimators=rounds,
        learning_rate=0.05,
        num_leaves=leaves,
        min_child_samples=20,
        reg_lambda=5.0,
        max_bin=63,
        colsample_bytree=0.1,
        subsample=0.8,
        subsample_freq=1,
        random_state=seed,
        deterministic=True,
        force_col_wise=True,  # only the columns of a tree are counted: half the time of whole rows, equal sums
        n_jobs=1,
        verbose=-1,
    )
    return refusing_nan(model)
