"""The head that is best on inner folds, chosen and refitted: what one gets by trying many and keeping the best."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.base import Classifier, HeadSpec
from benchmarks.heads.folds import inner_folds
from featurestore.progress import Progress


class BestByInnerCV(ClassifierMixin, BaseEstimator):
    """Fits every head on inner folds, keeps the one with the most right answers, and refits it on all rows.

    Parameters
    ----------
    specs
        Heads to choose from.

    Attributes
    ----------
    on_progress
        Called with the number of heads that were tried, and of all; whoever waits for `fit` may set it.
    """

    on_progress: Progress | None = None

    def __init__(self, specs: Sequence[HeadSpec] = (), random_state: int = 0) -> None:
        self.specs = specs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "BestByInnerCV":
        """Choose, then learn from all of ``X`` ``(n, d)`` and ``y`` ``(n,)``."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        folds = list(inner_folds(codes, seed=self.random_state))
        right: list[int] = []
        for spec in self.specs:
            right.append(self._right(spec, X, codes, folds))
            if self.on_progress is not None:
                self.on_progress(len(right), len(self.specs))
        best = self.specs[int(np.argmax(right))]
        self.chosen_ = {"head": best.name}
        self.model_ = best.build(seed=self.random_state).fit(X, codes)
        return self

    def _right(self, spec: HeadSpec, X: Any, codes: Any, folds: Sequence[tuple[Any, Any]]) -> int:
        right = 0
        for train, held in folds:
            model = spec.build(seed=self.random_state).fit(X[train], codes[train])
            answers = model.classes_[np.asarray(model.predict_proba(X[held])).argmax(axis=1)]
            right += int((answers == codes[held]).sum())
        return right

    def __getstate__(self) -> dict[str, Any]:
        """Without the candidates, which a fitted model no longer needs, and without whoever watched."""
        return {**super().__getstate__(), "specs": (), "on_progress": None}

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        return self.model_.predict_proba(X)

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def build_best(*, seed: int, members: Sequence[str]) -> Classifier:
    """Of the heads with these names."""
    from benchmarks.heads.registry import HEADS

    return BestByInnerCV([HEADS[name] for name in members], random_state=seed)
