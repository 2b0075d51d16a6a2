"""The head that is best on inner folds, chosen and refitted: the procedure of the same name in a nested comparison."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.base import Classifier, HeadSpec
from benchmarks.heads.groups import fit_with_groups
from benchmarks.heads.tuning import Choice, choose
from featurestore.progress import Progress


class BestByInnerCV(ClassifierMixin, BaseEstimator):
    """Chooses each head's settings on inner folds, keeps the head with the least log loss, and refits it on all rows.

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

    def fit(self, X: Any, y: Any, groups: Any = None) -> "BestByInnerCV":
        """Choose, then learn from all of ``X`` ``(n, d)`` and ``y`` ``(n,)``; ``groups`` are held out whole."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        choices: list[Choice] = []
        for spec in self.specs:
            choices.append(choose(spec, X, codes, groups, seed=self.random_state))
            if self.on_progress is not None:
                self.on_progress(len(choices), len(self.specs))
        place = int(np.argmin([choice.inner_score for choice in choices]))
        best, settings = self.specs[place], choices[place].settings
        self.model_ = fit_with_groups(best.build(seed=self.random_state, **settings), X, codes, groups)
        self.chosen_ = {"head": best.name, **settings, **getattr(self.model_, "chosen_", {})}
        return self

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
