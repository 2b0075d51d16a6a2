"""Soft voting: the mean of the probabilities of several heads, each fitted on the same rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.base import Classifier
from benchmarks.heads.groups import fit_with_groups


class SoftVoting(ClassifierMixin, BaseEstimator):
    """Fits every model and answers with their mean.

    Parameters
    ----------
    models
        Unfitted classifiers; they are fitted in place.
    """

    def __init__(self, models: Sequence[Any] = ()) -> None:
        self.models = models

    def fit(self, X: Any, y: Any, groups: Any = None) -> "SoftVoting":
        """Fit all models on ``X`` ``(n, d)`` and ``y`` ``(n,)``, with ``groups`` ``(n,)`` those that take them."""
        self.classes_ = np.unique(y)
        self.models_ = [fit_with_groups(model, X, y, groups) for model in self.models]
        return self

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)`` float64."""
        check_is_fitted(self)
        return np.mean([np.asarray(model.predict_proba(X), np.float64) for model in self.models_], axis=0)

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def build_ensemble(*, seed: int, members: Sequence[str]) -> Classifier:
    """Of the heads with these names, with their own settings."""
    from benchmarks.heads.registry import HEADS

    return SoftVoting([HEADS[name].build(seed=seed) for name in members])
