"""Risk-coverage curves of the rows of a table, from stored predictions."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.results.confidence import Extent, Sure
from benchmarks.scores.selective import RiskCoverage, mean_curve, risk_coverage

FIGURES = ("surest_half", "surest_quarter", "aurc")


def risk_curves(sure: Mapping[Extent, Sequence[Sure]]) -> dict[Extent, RiskCoverage]:
    """The curve of each row: over the pooled predictions of a repeat, mean over the repeats.

    A repeat (and seed) counts when it has as many predictions as any in the run: not one that was cut short or in which
    a fold failed.
    """
    whole = max((len(correct) for repeats in sure.values() for _, correct in repeats), default=0)
    kept = {row: [one for one in repeats if len(one[1]) == whole] for row, repeats in sure.items()}
    return {row: mean_curve([risk_coverage(*one) for one in repeats]) for row, repeats in kept.items() if repeats}


def with_surest(rows: Sequence[dict[str, Any]], curves: Mapping[Extent, RiskCoverage]) -> list[dict[str, Any]]:
    """``rows`` of a table with ``surest_half``, ``surest_quarter`` and ``aurc``, the area; None where unknown."""
    found = [curves.get((row["backbone"], row["head"], row["size"])) for row in rows]
    figures = [(one.surest_half, one.surest_quarter, one.area) if one else (None,) * len(FIGURES) for one in found]
    return [row | dict(zip(FIGURES, own, strict=True)) for row, own in zip(rows, figures, strict=True)]
