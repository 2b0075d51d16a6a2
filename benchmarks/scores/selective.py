"""Selective prediction: accuracy when only the surest predictions are accepted; knows no heads and no stores.

The risk-coverage curve of El-Yaniv and Wiener (2010, JMLR 11) with the largest probability as confidence (Geifman and
El-Yaniv 2017, NeurIPS) and the area under it (Geifman, Uziel and El-Yaniv 2019, ICLR).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The shares of the predictions at which a curve is kept.
COVERAGE = np.arange(1, 101) / 100


@dataclass(frozen=True)
class RiskCoverage:
    """Accuracy by the share of predictions that are accepted, surest first.

    Parameters
    ----------
    risk
        ``(100,)`` float64: the share of errors among the accepted predictions, at each share of `COVERAGE`.
    area
        The mean risk over all numbers of accepted predictions, 0 to 1; lower is better.
    surest_half, surest_quarter
        Accuracy of the surest half and quarter.
    """

    risk: NDArray[np.float64]
    area: float
    surest_half: float
    surest_quarter: float


def risk_coverage(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> RiskCoverage:
    """The curve of ``n`` > 0 predictions, from how sure each is and whether it is correct, both ``(n,)``."""
    errors = _errors(confidence, correct)
    n = len(correct)
    accepted = np.arange(1, n + 1)
    risk = _risk(errors, n * COVERAGE)
    half, quarter = 1 - _risk(errors, np.array([n / 2, n / 4]))
    return RiskCoverage(risk, float((errors[1:] / accepted).mean()), float(half), float(quarter))


def mean_curve(curves: Sequence[RiskCoverage]) -> RiskCoverage:
    """The mean of one or more curves, such as those of the repeats of a cross-validation."""
    return RiskCoverage(
        np.mean([one.risk for one in curves], axis=0),
        float(np.mean([one.area for one in curves])),
        float(np.mean([one.surest_half for one in curves])),
        float(np.mean([one.surest_quarter for one in curves])),
    )


def _errors(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(n + 1,)``: the number of errors among the 0 to ``n`` surest.

    Among equally sure predictions it is the expected number over all orders of them, so that the order of the rows
    decides nothing.
    """
    order = np.argsort(-confidence, kind="stable")
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True)) + 1
    counted = np.cumsum(~correct[order])[last - 1]
    return np.interp(np.arange(len(correct) + 1), np.append(0, last), np.append(0, counted))


def _risk(errors: NDArray[np.float64], accepted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of errors among ``accepted`` predictions, which may be a fraction of one more."""
    return np.interp(accepted, np.arange(len(errors)), errors) / accepted
