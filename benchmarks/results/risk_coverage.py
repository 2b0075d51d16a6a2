"""Risk-coverage curves of the rows of a table, from stored predictions."""

from typing import Any

import numpy as np

from benchmarks.results.read import run_query
from benchmarks.scores.selective import RiskCoverage, mean_curve, risk_coverage
from featurestore import FeatureStore

Extent = tuple[str, str, float]
FIGURES = ("surest_half", "surest_quarter", "aurc")


def risk_curves(store: FeatureStore, run: dict[str, Any]) -> dict[Extent, RiskCoverage]:
    """The curve of each backbone, head and training size: over the pooled rows of a repeat, mean over the repeats.

    A repeat (and seed) counts when it has as many predictions as any in the run: not one that was cut short or in which
    a fold failed. Empty for several labels an image, where no single probability says how sure a prediction is.
    """
    if run["task"] != "multiclass":
        return {}
    table = run_query(store, "surest", [run["cells"]])
    if not len(table):
        return {}
    confidence, correct = table["confidence"].to_numpy(), table["correct"].to_numpy()
    starts = np.flatnonzero(np.diff(table["sample"].to_numpy(), prepend=-1))
    ends = np.append(starts[1:], len(table))
    whole = int((ends - starts).max())
    curves: dict[Extent, list[RiskCoverage]] = {}
    firsts = table.select(["backbone", "head", "size"]).take(starts).to_pylist()
    for first, start, end in zip(firsts, starts.tolist(), ends.tolist(), strict=True):
        if end - start == whole:
            key = (first["backbone"], first["head"], first["size"])
            curves.setdefault(key, []).append(risk_coverage(confidence[start:end], correct[start:end]))
    return {key: mean_curve(found) for key, found in curves.items()}


def with_surest(rows: list[dict[str, Any]], curves: dict[Extent, RiskCoverage]) -> list[dict[str, Any]]:
    """``rows`` of a table with ``surest_half``, ``surest_quarter`` and ``aurc``, the area; None where unknown."""
    found = [curves.get((row["backbone"], row["head"], row["size"])) for row in rows]
    figures = [(one.surest_half, one.surest_quarter, one.area) if one else (None,) * len(FIGURES) for one in found]
    return [row | dict(zip(FIGURES, own, strict=True)) for row, own in zip(rows, figures, strict=True)]
