"""Calibration of confidence: an error without the bias of binning, what a calibrated head would show, the curve.

Confidence is the largest probability of a row. The error is the root of the mean squared difference between confidence
and accuracy in bins of equal mass. Its squares are debiased (Kumar, Liang and Ma, NeurIPS 2019): the plain expected
calibration error of a perfectly calibrated head grows with the number of bins and shrinks with the number of rows
(Roelofs et al., AISTATS 2022), so that it compares neither heads nor collections.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 10
# A bin holds so many rows at least, fewer bins otherwise.
FEWEST = 20
DRAWS = 9999
ALPHA = 0.05


@dataclass(frozen=True)
class Calibration:
    """``error`` is 0 for a calibrated head in expectation of its square, in units of probability.

    ``limit`` is what 19 of 20 calibrated heads with these confidences stay below; ``p_value`` is the share of
    calibrated heads that show at least ``error``.
    """

    error: float
    limit: float
    p_value: float


@dataclass(frozen=True)
class Reliability:
    """A reliability curve: arrays ``(bins,)`` of mean ``confidence``, ``accuracy``, its 95 % interval, rows in it."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    count: NDArray[np.float64]


def calibration(repeats: Sequence[tuple[NDArray[np.floating], NDArray[np.bool_]]]) -> Calibration:
    """The calibration of a head from all out-of-fold rows of each repeat.

    In each bin, the square of the mean of ``correct - confidence`` is estimated by the mean of the products of two
    different rows, which is unbiased. The mean over the repeats is that of the squares. For a calibrated head the sum
    of a bin is close to normal, with the variance of the head's own probabilities. Repeats predict the same rows
    again; the limit takes them as copies of each other, which can only make it larger than it need be.

    Parameters
    ----------
    repeats
        For each repeat confidence ``(n,)`` and whether the most probable class was right, ``(n,)``; at least one,
        none empty.
    """
    squares = []
    scales = np.zeros(BINS)
    for confidence, correct in repeats:
        square, scale = _bins(confidence, correct)
        squares.append(square)
        scales[: len(scale)] += scale / len(repeats)
    found = float(np.mean(squares))
    # One sequence for every head, so that the same predictions always show the same.
    normal = np.random.default_rng(0).standard_normal((DRAWS, BINS))
    by_chance = (normal**2 - 1) @ scales
    # What is equal but for rounding counts as equal.
    p_value = (1 + int((by_chance >= found - 1e-12).sum())) / (1 + DRAWS)
    return Calibration(_root(found), _root(float(np.quantile(by_chance, 1 - ALPHA))), p_value)


def reliability_curve(confidence: NDArray[np.floating], correct: NDArray[np.bool_], *, repeats: int = 1) -> Reliability:
    """Accuracy in bins of equal mass, with Wilson's intervals.

    Parameters
    ----------
    confidence, correct
        ``(n,)``: the predictions of all repeats together.
    repeats
        How often each row was predicted: a row that was predicted ten times counts once.
    """
    from statsmodels.stats.proportion import proportion_confint

    confidence = np.asarray(confidence, np.float64)
    starts, order = _equal_mass(confidence, correct)
    size = np.diff(np.append(starts, len(order))).astype(float)
    accuracy, mean = (np.add.reduceat(values[order].astype(float), starts) / size for values in (correct, confidence))
    count = size / repeats
    low, high = proportion_confint(accuracy * count, count, alpha=ALPHA, method="wilson")
    return Reliability(mean, accuracy, np.asarray(low), np.asarray(high), count)


def _bins(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
    """The debiased squared error of one repeat, and the scale of each bin's part in it for a calibrated head."""
    confidence = np.asarray(confidence, np.float64)
    starts, order = _equal_mass(confidence, correct)
    shown = confidence[order]
    gap = correct[order] - shown
    total, own, variance = (np.add.reduceat(values, starts) for values in (gap, gap**2, shown * (1 - shown)))
    size = np.diff(np.append(starts, len(order))).astype(float)
    # A bin of one row has no pair, and no say.
    weight = np.where(size > 1, size / len(order) / np.maximum(size * (size - 1), 1), 0.0)
    return float((weight * (total**2 - own)).sum()), weight * variance


def _equal_mass(
    confidence: NDArray[np.floating], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where each bin starts in the order of confidence, and that order; equal confidences share a bin.

    Rows that are equal in both arrays are interchangeable, so that sums never depend on the order of the rows.
    """
    order = np.lexsort((correct, confidence))
    ranked = confidence[order]
    bins = max(1, min(BINS, len(ranked) // FEWEST))
    edges = ranked[np.arange(bins) * len(ranked) // bins]
    return np.unique(np.searchsorted(ranked, edges, side="left")), order


def _root(square: float) -> float:
    """The root of an estimated square, which may be below zero."""
    return max(square, 0.0) ** 0.5
