"""Metrics over out-of-fold probabilities, one record each; they know no heads and no stores."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]


@dataclass(frozen=True)
class Metric:
    """A score of predictions.

    ``function`` takes ``y`` ``(n,)`` int64 and the probabilities ``(n, n_classes)``; ``better`` is ``higher`` or
    ``lower``.
    """

    name: str
    function: Callable[[Labels, Probabilities], float]
    better: str
    about: str


def _accuracy(y: Labels, proba: Probabilities) -> float:
    return float((proba.argmax(1) == y).mean())


def _balanced_accuracy(y: Labels, proba: Probabilities) -> float:
    from sklearn.metrics import recall_score

    return float(recall_score(y, proba.argmax(1), labels=np.unique(y), average="macro", zero_division=0))


def _averaged(name: str, average: str) -> Callable[[Labels, Probabilities], float]:
    def score(y: Labels, proba: Probabilities) -> float:
        from sklearn import metrics

        function = getattr(metrics, f"{name}_score")
        return float(function(y, proba.argmax(1), labels=np.unique(y), average=average, zero_division=0))

    return score


def _log_loss(y: Labels, proba: Probabilities) -> float:
    chosen = proba[np.arange(len(y)), y].astype(np.float64)
    # A head that is sure and wrong would be infinitely bad; float32 can't say less than this anyway.
    return float(-np.log(chosen.clip(1e-7, 1.0)).mean())


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _accuracy, "higher", "share of rows whose most probable class is theirs"),
        Metric("balanced_accuracy", _balanced_accuracy, "higher", "mean recall of the classes"),
        Metric("precision_weighted", _averaged("precision", "weighted"), "higher", "precision, weighted by support"),
        Metric("recall_weighted", _averaged("recall", "weighted"), "higher", "recall, weighted by support"),
        Metric("f1_weighted", _averaged("f1", "weighted"), "higher", "F1, weighted by support, as in the study"),
        Metric("f1_macro", _averaged("f1", "macro"), "higher", "mean F1 of the classes"),
        Metric("log_loss", _log_loss, "lower", "mean negative log of the true class's probability, in nats"),
    )
}


def wilson(successes: float, n: int, *, z: float = 1.959963984540054) -> tuple[float, float]:
    """The Wilson score interval of a rate, 95 % by default (Wilson, JASA 22, 1927).

    >>> [round(bound, 3) for bound in wilson(91, 163)]
    [0.482, 0.632]
    """
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(centre - half), float(centre + half)
