"""Gradient boosting of XGBoost."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from xgboost import XGBClassifier

from benchmarks.heads.base import Classifier
from benchmarks.heads.input_check import refusing_nan


class AnyLabels(ClassifierMixin, BaseEstimator):
    """Lets XGBoost, which insists on the labels 0 … k-1, learn from a part that lacks a class."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, X: Any, y: Any) -> "AnyLabels":
        """Fit on the labels' places in ``classes_``."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.model_ = self.model.fit(X, codes)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Probabilities in the order of ``classes_``."""
        return self.model_.predict_proba(X)

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def __getstate__(self) -> dict[str, Any]:
        """Settings as plain values, trees as XGBoost's own UBJSON, which later versions read too."""
        state = {**super().__getstate__(), "model": self.model.get_params()}
        if "model_" in state:
            state["model_"] = bytes(self.model_.get_booster().save_raw("ubj"))
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore settings and trees."""
        model = XGBClassifier(**state["model"])
        state = {**state, "model": model}
        if "model_" in state:
            if not isinstance(state["model_"], bytes):  # a number would be that many bytes
                raise TypeError(f"the trees are {type(state['model_']).__name__}, expected bytes")
            model.load_model(bytearray(state["model_"]))
            state["model_"] = model
        super().__setstate__(state)


def predict_path(model: Any, X: Any, values: Sequence[int]) -> list[Any]:
    """Probabilities ``(n, n_classes)`` after each of so many rounds of one fitted model."""
    return [model[-1].model_.predict_proba(X, iteration_range=(0, rounds)) for rounds in values]


def build_xgboost(*, seed: int, rounds: int, max_depth: int) -> Classifier:
    """Trees of two questions, few columns each: where columns outnumber rows faster, and less sure of themselves."""
    model = XGBClassifier(
        n_estimators=rounds,
        learning_rate=0.05,
        max_depth=max_depth,
        max_bin=31,
        colsample_bytree=0.1,
        subsample=0.8,
        tree_method="hist",
        random_state=seed,
        n_jobs=1,
    )
    return refusing_nan(AnyLabels(model))
