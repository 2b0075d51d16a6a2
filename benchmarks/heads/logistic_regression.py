"""Multinomial logistic regression with an L2 penalty: the first thing to try on frozen embeddings."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.utils.validation import check_is_fitted

from benchmarks.heads.base import Classifier
from benchmarks.heads.folds import inner_folds, log_loss_of
from benchmarks.heads.scaling import SCALINGS, PrincipalCoordinates


class TunedLogisticRegression(ClassifierMixin, BaseEstimator):
    """Chooses scaling and penalty on inner folds by log loss, then learns from all rows.

    The fits run in the coordinates of the training rows, where the solution lies anyway, and along the penalties each
    starts from the one before, to the second that is worse than the best: the same numbers as a grid search over
    pipelines, where the inner loss has one minimum along the penalties, in a fraction of its time.

    Parameters
    ----------
    scalings
        Which of ``raw``, ``l2``, ``standard`` to try.
    Cs
        Inverse penalties to try, ascending, for rows of mean squared length 1.
    components
        Numbers of leading principal components of the standardised rows to try besides all of them.
    tol
        Of the solver.
    """

    def __init__(
        self,
        *,
        scalings: Sequence[str] = SCALINGS,
        Cs: Sequence[float] = (1.0,),
        components: Sequence[int] = (),
        tol: float = 1e-4,
        random_state: int = 0,
    ) -> None:
        self.scalings = scalings
        self.Cs = Cs
        self.components = components
        self.tol = tol
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> "TunedLogisticRegression":
        """Learn from ``X`` ``(n, d)`` and ``y`` ``(n,)``; rows of one of ``groups`` ``(n,)`` are held out together."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        folds = list(inner_folds(codes, groups, seed=self.random_state))
        best = np.inf
        for scaling in self.scalings:
            space = PrincipalCoordinates(scaling)
            rows = space.fit_transform(X)
            for count in (None, *(self.components if scaling == "standard" else ())):
                losses = self._losses(rows[:, :count], codes, folds)
                place = int(np.argmin(losses))
                if losses[place] < best:
                    best, self.space_, self.count_, chosen = losses[place], space, count, rows[:, :count]
                    self.chosen_: dict[str, Any] = {"scaling": scaling, "C": self.Cs[place]}
        if self.count_ is not None:
            self.chosen_["components"] = self.count_
        self.model_ = self._model(self.chosen_["C"], warm=False).fit(chosen, codes)
        return self

    def _losses(self, rows: Any, codes: Any, folds: Sequence[tuple[Any, Any]]) -> list[float]:
        """Inner log loss for each of ``Cs``, up to the second that is worse than the best: the rest overfits more."""
        models = [self._model(self.Cs[0], warm=True) for _ in folds]
        losses: list[float] = []
        for C in self.Cs:
            out_of_fold = np.zeros((len(codes), len(self.classes_)))
            for model, (train, held) in zip(models, folds, strict=True):
                model.set_params(C=C).fit(rows[train], codes[train])
                out_of_fold[np.ix_(held, model.classes_)] = model.predict_proba(rows[held])
            losses.append(log_loss_of(out_of_fold, codes))
            if len(losses) > int(np.argmin(losses)) + 2:
                break
        return losses

    def _model(self, C: float, *, warm: bool) -> LogisticRegression:
        return LogisticRegression(C=C, tol=self.tol, max_iter=2000, warm_start=warm)

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        check_is_fitted(self)
        return self.model_.predict_proba(self.space_.transform(X)[:, : self.count_])

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def build_logistic_regression(
    *, seed: int, scalings: Sequence[str], Cs: Sequence[float], components: Sequence[int] = ()
) -> Classifier:
    """Everything is chosen inside the training part, on the same inner folds whatever the seed."""
    del seed
    return TunedLogisticRegression(scalings=tuple(scalings), Cs=tuple(Cs), components=tuple(components))
