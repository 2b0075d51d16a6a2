"""The rows of two runs, compared over the splits that both have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.images import image_results, split_results
from benchmarks.results.read import comparison, primary, scores
from benchmarks.results.selection import Run, StoredCell
from benchmarks.scores.correction import holm
from benchmarks.scores.inference import ALPHA, Results, infer
from benchmarks.scores.significance import is_majority
from featurestore import FeatureStore

if TYPE_CHECKING:
    import pandas as pd

# What is said of a row of both runs, and of a row of one.
SAME, HIGHER, LOWER, UNCLEAR, UNTESTED = "same results", "higher", "lower", "not significant", "not tested"
ONLY_A, ONLY_B = "only in A", "only in B"
RowKey = tuple[str, str, float]
# The two runs, as rows of a comparison of two.
A, B = ("a", ""), ("b", "")
_ROW, _SPLIT = ["backbone", "head", "size"], ["repeat", "fold", "split"]


@dataclass(frozen=True)
class RowDifference:
    """One row of either run: its mean scores in A and in B over all of its cells there.

    ``difference`` is B minus A, over the splits that both have where there are any (``splits``; ``images`` is how many
    different images those test), else of the two means. ``p_value`` is that of the difference, ``p_holm`` is corrected
    for the number of rows that are tested.
    """

    backbone: str
    head: str
    size: float
    a: float | None
    b: float | None
    verdict: str
    difference: float | None = None
    splits: int = 0
    images: int = 0
    p_value: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Pair:
    """One row of both runs over the ``J`` splits that both have.

    ``a``, ``b``: ``(J,)`` scores; ``results``: what both have on each image, or on each split where a score is no mean
    over images, None where they don't match. ``images``: how many different images those splits test. ``same_cells``:
    whether both runs have the very same results there.
    """

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    results: Results | None
    images: int
    same_cells: bool = False

    @property
    def difference(self) -> float:
        """The mean of B minus A."""
        return float((self.b - self.a).mean())

    @property
    def p_value(self) -> float:
        """The two-sided p value of the difference; NaN where one split of another score leaves no test.

        The one place where rows of two runs are tested, as rows of one table are.
        """
        return float("nan") if self.results is None else infer(self.results).p_value(B, A)


def row_differences(
    store: FeatureStore, a: Run, b: Run, known: dict[str, StoredCell], *, same_labels: bool
) -> list[RowDifference]:
    """Every row of both: those of B in the order of its table, then those that only A has.

    Parameters
    ----------
    same_labels
        Whether both runs have the same images with the same labels: else their splits are not the same either.
    """
    first, second = (_means(store, run) for run in (a, b))
    comparable = a["task"] == b["task"]
    pairs = _pairs(store, a, b, known) if comparable and same_labels else {}
    rows = []
    for key in [*second, *(key for key in first if key not in second)]:
        row = RowDifference(*key, first.get(key), second.get(key), UNTESTED)
        if key not in first or key not in second:
            rows.append(replace(row, verdict=ONLY_B if key in second else ONLY_A))
            continue
        if comparable and row.a is not None and row.b is not None:
            row = replace(row, difference=row.b - row.a)
        rows.append(_judged(row, pairs.get(key)))
    return _corrected(rows)


def _judged(row: RowDifference, pair: Pair | None) -> RowDifference:
    """The row with what its pair tells; shares of the training part are not tested."""
    if pair is None:
        return row
    row = replace(row, difference=pair.difference, splits=len(pair.a), images=pair.images)
    if pair.same_cells:
        return replace(row, verdict=SAME)
    if row.size != 1.0 or np.isnan(p := pair.p_value):
        return row
    return replace(row, p_value=p)


def _corrected(rows: Sequence[RowDifference]) -> list[RowDifference]:
    """The rows with Holm's correction over all that are tested, and what that says; the most frequent class apart."""
    family = [row for row in rows if row.p_value is not None and not is_majority((row.backbone, row.head))]
    adjusted = dict(zip(map(id, family), holm([row.p_value or 0.0 for row in family]), strict=True))
    found = []
    for row in rows:
        p = adjusted.get(id(row), row.p_value)
        if p is not None and row.difference is not None:
            verdict = UNCLEAR if p >= ALPHA else HIGHER if row.difference > 0 else LOWER
            row = replace(row, p_holm=p, verdict=verdict)
        found.append(row)
    return found


def _means(store: FeatureStore, run: Run) -> dict[RowKey, float | None]:
    """The mean score of each row, in the order of the table."""
    metric = primary(run)
    return {(row["backbone"], row["head"], row["size"]): row[metric] for row in comparison(store, run)}


def _by_row(run: Run, known: dict[str, StoredCell]) -> dict[RowKey, set[str]]:
    """The cells of each row that were tried."""
    found: dict[RowKey, set[str]] = {}
    for cell in (known[key] for key in run["cells"] if key in known):
        found.setdefault((cell.backbone, cell.head, cell.size), set()).add(cell.cell)
    return found


def _pairs(store: FeatureStore, a: Run, b: Run, known: dict[str, StoredCell]) -> dict[RowKey, Pair]:
    """The rows that have a score on the same splits in both runs."""
    parts = [{(cell.place, cell.split_hash): cell for cell in _good(run, known)} for run in (a, b)]
    shared = parts[0].keys() & parts[1].keys()
    kept = [
        {**run, "cells": [cell.cell for cell in _good(run, known) if (cell.place, cell.split_hash) in shared]}
        for run in (a, b)
    ]
    if not shared:
        return {}
    first, second = (_split_scores(store, run, known) for run in kept)
    both = first.merge(second[[*_ROW, *_SPLIT, "score"]], on=[*_ROW, *_SPLIT], suffixes=("", "_b"))
    tested = _tested(store, kept[0], kept[1])
    cells = [_by_row(run, known) for run in kept]
    found = {}
    for key, rows in both.groupby(_ROW, sort=True):
        a_score, b_score = (rows[name].to_numpy(float) for name in ("score", "score_b"))
        images = int(rows.groupby("repeat")["n_test"].sum().max())
        same = cells[0][key] == cells[1][key]
        found[key] = Pair(a_score, b_score, tested.get(key), images=images, same_cells=same)
    return found


def _good(run: Run, known: dict[str, StoredCell]) -> list[StoredCell]:
    return [known[key] for key in run["cells"] if key in known and known[key].ok]


def _split_scores(store: FeatureStore, run: Run, known: dict[str, StoredCell]) -> "pd.DataFrame":
    """The primary score of each row on each split, the mean over its seeds."""
    table = scores(store, run).to_pandas()
    table = table[(table["metric"] == primary(run)) & table["score"].notna()]
    table = table.assign(split=table["cell"].map(lambda key: known[key].split_hash))
    by_split = table.groupby([*_ROW, *_SPLIT], as_index=False, sort=True)
    return by_split.agg({"score": "mean", "n_train": "first", "n_test": "first"})


def _tested(store: FeatureStore, a: Run, b: Run) -> dict[RowKey, Results]:
    """For each row that both runs have on the same images and test parts, A's and B's results as two rows."""
    metric = primary(a)
    found = [_results(store, run, metric) for run in (a, b)]
    first, second = found
    if first is None or second is None or not np.array_equal(first.folds, second.folds):
        return {}
    rows = [row for row in first.values if row in second.values]
    return {
        (*row, 1.0): replace(first, values={A: first.values[row], B: second.values[row]})
        for row in rows
        if first.values[row].shape == second.values[row].shape
    }


def _results(store: FeatureStore, run: Run, metric: str) -> Results | None:
    images = image_results(store, run, run["cells"])
    found = images.results(metric) if images else None
    return found or split_results(store, run, run["cells"], metric)
