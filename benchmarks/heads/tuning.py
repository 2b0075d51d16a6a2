"""Settings of a head chosen on inner folds of a training part; the test part is not known here."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.base import Classifier, HeadSpec
from benchmarks.heads.folds import inner_folds, log_loss_of
from benchmarks.heads.groups import fit_with_groups
from benchmarks.heads.probabilities import on_all_classes


@dataclass(frozen=True)
class Choice:
    """Settings, and their log loss on inner folds."""

    settings: Mapping[str, Any]
    inner_score: float


def choose(head: HeadSpec, X: NDArray[np.float32], y: NDArray[np.int64], groups: Any, *, seed: int) -> Choice:
    """The settings of ``head.search`` with the least log loss on inner folds; duplicates stay on one side.

    The folds are the same for every head and ``seed``, so that the scores of heads can be compared.

    Parameters
    ----------
    X, y, groups
        Of the training part: ``(n, d)``, ``(n,)``, ``(n,)`` or None.
    """
    classes = int(y.max()) + 1
    folds = list(inner_folds(y, groups, seed=0))
    tried: list[tuple[float, Mapping[str, Any]]] = []
    for fixed in _combinations(head):
        values: list[Any] = list(head.search[head.path]) if head.path else [None]
        proba = np.zeros((len(values), len(y), classes))
        for train, held in folds:
            longest = {head.path: max(values)} if head.path else {}
            inner = None if groups is None else groups[train]
            model = fit_with_groups(head.build(seed=seed, **fixed, **longest), X[train], y[train], inner)
            for place, found in enumerate(_predictions(head, model, X[held], values)):
                proba[place][held] = on_all_classes(model, found, n_rows=len(held), n_classes=classes)
        for value, found in zip(values, proba, strict=True):
            settings: dict[str, Any] = {**fixed, head.path: value} if head.path else dict(fixed)
            tried.append((log_loss_of(found, y), settings))
    loss, chosen = min(tried, key=lambda one: one[0])
    return Choice(chosen, loss)


def _combinations(head: HeadSpec) -> Iterator[dict[str, Any]]:
    """Every combination of the settings that need a fit of their own."""
    names = [name for name in head.search if name != head.path]
    for values in product(*(head.search[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _predictions(head: HeadSpec, model: Classifier, X: Any, values: list[Any]) -> list[Any]:
    if head.path:
        return head.function("predict_path")(model, X, values)
    return [model.predict_proba(X)]
