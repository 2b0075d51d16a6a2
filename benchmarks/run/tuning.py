"""Settings of a head chosen on inner folds of a training part; the test part is not known here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.base import Classifier, HeadSpec
from benchmarks.heads.probabilities import on_all_classes
from benchmarks.scores.metrics import METRICS

INNER_FOLDS = 3


@dataclass(frozen=True)
class Choice:
    """Settings, and their accuracy on inner folds."""

    settings: Mapping[str, Any]
    inner_score: float


def choose(
    head: HeadSpec, X: NDArray[np.float32], y: NDArray[np.int64], groups: NDArray[np.int64], *, seed: int
) -> Choice:
    """The settings of ``head.search`` with the least log loss on inner folds; duplicates stay on one side.

    Parameters
    ----------
    X, y, groups
        Of the training part: ``(n, d)``, ``(n,)``, ``(n,)``.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    classes = int(y.max()) + 1
    folds = list(StratifiedGroupKFold(INNER_FOLDS, shuffle=True, random_state=seed).split(X, y, groups))
    tried: list[tuple[float, float, Mapping[str, Any]]] = []
    for fixed in _combinations(head):
        values = list(head.search[head.path]) if head.path else [None]
        proba = np.zeros((len(values), len(y), classes))
        for train, held in folds:
            model = _fitted(head, fixed, values, X[train], y[train], seed)
            for place, found in enumerate(_predictions(head, model, X[held], values)):
                proba[place][held] = on_all_classes(model, found, n_rows=len(held), n_classes=classes)
        for value, found in zip(values, proba, strict=True):
            settings: dict[str, Any] = {**fixed, head.path: value} if head.path else dict(fixed)
            tried.append((METRICS["log_loss"].function(y, found), METRICS["accuracy"].function(y, found), settings))
    _, accuracy, chosen = min(tried, key=lambda one: one[0])
    return Choice(chosen, accuracy)


def _combinations(head: HeadSpec) -> Iterator[dict[str, Any]]:
    """Every combination of the settings that need a fit of their own."""
    names = [name for name in head.search if name != head.path]
    for values in product(*(head.search[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _fitted(
    head: HeadSpec, fixed: Mapping[str, Any], values: list[Any], X: Any, y: NDArray[np.int64], seed: int
) -> Classifier:
    longest = {head.path: max(values)} if head.path else {}
    model = head.build(seed=seed, **fixed, **longest)
    model.fit(X, y)
    return model


def _predictions(head: HeadSpec, model: Classifier, X: Any, values: list[Any]) -> list[Any]:
    if head.path:
        return head.function("predict_path")(model, X, values)
    return [model.predict_proba(X)]
