"""Metrics over out-of-fold probabilities, one record each; they know no heads and no stores."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]
Probabilities = NDArray[np.floating]
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Metric:
    """A score of predictions.

    ``function`` takes ``y`` ``(n,)`` int64 and the probabilities ``(n, n_classes)``, in a multi-label task ``y``
    ``(n, n_labels)`` of 0 and 1; ``better`` is ``higher`` or ``lower``.
    """

    name: str
    function: Callable[[Labels, Probabilities], float]
    better: str
    about: str


def confusion(y: Labels, proba: Probabilities) -> NDArray[np.int64]:
    """Counts ``(n_classes, n_classes)``: row the true class, column the most probable one."""
    classes = proba.shape[1]
    return np.bincount(y * classes + proba.argmax(1), minlength=classes**2).reshape(classes, classes)


def per_class(counts: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
    """``precision``, ``recall``, ``f1`` and ``support`` of each class from a confusion matrix; 0 where undefined."""
    right, true, predicted = np.diag(counts).astype(float), counts.sum(1), counts.sum(0)
    return {
        "precision": right / np.maximum(predicted, 1),
        "recall": right / np.maximum(true, 1),
        "f1": 2 * right / np.maximum(true + predicted, 1),
        "support": true.astype(float),
    }


def _averaged(name: str, average: str) -> Callable[[Labels, Probabilities], float]:
    def score(y: Labels, proba: Probabilities) -> float:
        found = per_class(confusion(y, proba))
        present = found["support"] > 0
        weights = found["support"][present] if average == "weighted" else None
        return float(np.average(found[name][present], weights=weights))

    return score


def _accuracy(y: Labels, proba: Probabilities) -> float:
    return float((proba.argmax(1) == y).mean())


def _log_loss(y: Labels, proba: Probabilities) -> float:
    chosen = proba[np.arange(len(y)), y].astype(np.float64)
    # A head that is sure and wrong would be infinitely bad; float32 can't say less than this anyway.
    return float(-np.log(chosen.clip(1e-7, 1.0)).mean())


def _brier(y: Labels, proba: Probabilities) -> float:
    return float(((proba - np.eye(proba.shape[1])[y]) ** 2).sum(axis=1).mean())


def reliability(y: Labels, proba: Probabilities, *, bins: int = CALIBRATION_BINS) -> NDArray[np.float64]:
    """Rows ``(bins, 3)``: how many predictions fall in a bin of confidence, their mean confidence, their accuracy.

    Bins are of equal width; confidence is the largest probability. Empty bins hold zeros.
    """
    confidence = proba.max(axis=1).astype(np.float64)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, weights, bins) for weights in (confidence, (proba.argmax(1) == y).astype(float))]
    return np.column_stack([count, *(total / np.maximum(count, 1) for total in sums)])


def _ece(y: Labels, proba: Probabilities) -> float:
    count, confidence, accuracy = reliability(y, proba).T
    return float((count * np.abs(confidence - accuracy)).sum() / len(y))


def _auc(truth: NDArray[np.bool_], scores: Probabilities) -> float:
    """Area under the ROC curve of one class (Mann-Whitney's U over the number of pairs)."""
    from scipy.stats import rankdata

    positive = int(truth.sum())
    u = rankdata(scores)[truth].sum() - positive * (positive + 1) / 2
    return float(u / (positive * (len(truth) - positive)))


def _auc_ovr(y: Labels, proba: Probabilities) -> float:
    areas = [_auc(y == code, proba[:, code]) for code in range(proba.shape[1]) if 0 < (y == code).sum() < len(y)]
    return float(np.mean(areas)) if areas else float("nan")


def _map(y: Labels, proba: Probabilities) -> float:
    from sklearn.metrics import average_precision_score

    shown = y.any(axis=0)
    return float(average_precision_score(y[:, shown], proba[:, shown], average="macro"))


def _multilabel_f1(average: str) -> Callable[[Labels, Probabilities], float]:
    def score(y: Labels, proba: Probabilities) -> float:
        predicted, truth = proba >= 0.5, y.astype(bool)
        axis = None if average == "micro" else 0
        right, count = (predicted & truth).sum(axis), predicted.sum(axis) + truth.sum(axis)
        return float(np.mean(2 * right / np.maximum(count, 1)))

    return score


def _any_label(y: Labels, proba: Probabilities) -> float:
    return float(y[np.arange(len(y)), proba.argmax(1)].mean())


def _records(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS = _records(
    Metric("accuracy", _accuracy, "higher", "share of rows whose most probable class is theirs"),
    Metric("balanced_accuracy", _averaged("recall", "macro"), "higher", "mean recall of the classes"),
    Metric("precision_weighted", _averaged("precision", "weighted"), "higher", "precision, weighted by support"),
    Metric("recall_weighted", _averaged("recall", "weighted"), "higher", "recall, weighted by support"),
    Metric("f1_weighted", _averaged("f1", "weighted"), "higher", "F1, weighted by support, as in the study"),
    Metric("precision_macro", _averaged("precision", "macro"), "higher", "mean precision of the classes"),
    Metric("recall_macro", _averaged("recall", "macro"), "higher", "mean recall of the classes"),
    Metric("f1_macro", _averaged("f1", "macro"), "higher", "mean F1 of the classes"),
    Metric("log_loss", _log_loss, "lower", "mean negative log of the true class's probability, in nats"),
    Metric("brier", _brier, "lower", "mean squared distance of probabilities and truth, 0 to 2 (Brier, 1950)"),
    Metric("ece", _ece, "lower", "expected calibration error, 15 bins of confidence (Guo et al., 2017)"),
    Metric("roc_auc_ovr", _auc_ovr, "higher", "mean area under the ROC curve, each class against the rest"),
)
MULTILABEL_METRICS = _records(
    Metric("map", _map, "higher", "mean average precision of the labels"),
    Metric("f1_micro", _multilabel_f1("micro"), "higher", "F1 over all label decisions, at probability 0.5"),
    Metric("f1_macro", _multilabel_f1("macro"), "higher", "mean F1 of the labels, at probability 0.5"),
    Metric("top_label", _any_label, "higher", "share of rows whose most probable label is one of theirs"),
)
# The first metric of a task is the one that its heads are ranked and tested by.
TASKS = {"multiclass": METRICS, "multilabel": MULTILABEL_METRICS}


def wilson(successes: float, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of the rate ``successes / n`` (Wilson, JASA 22, 1927), from statsmodels.

    >>> [round(bound, 3) for bound in wilson(91, 163)]
    [0.482, 0.632]
    """
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, n, alpha=0.05, method="wilson")
    return float(low), float(high)
