"""The comparison table of a run with what its rows are told of their differences."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.results.confidence import confidences
from benchmarks.results.images import ImageResults, image_results, split_results, whole_cells
from benchmarks.results.read import comparison, primary
from benchmarks.results.risk_coverage import risk_curves, with_surest
from benchmarks.scores.calibration import calibration
from benchmarks.scores.factors import Factors, factors
from benchmarks.scores.inference import Inference, Results, infer
from benchmarks.scores.metrics import TASKS
from benchmarks.scores.significance import annotate, is_majority, name_of, smallest_seen
from featurestore import FeatureStore
from featurestore.errors import InputError, alike

LOSS = "log_loss"


@dataclass(frozen=True)
class Compared:
    """The rows of a table, best first, and the inference by the metric that they are ranked by.

    ``smallest`` is the smallest difference from the reference that the table would probably have seen; ``factors`` what
    backbone and head contribute.
    """

    rows: list[dict[str, Any]]
    metric: str
    inference: Inference | None
    smallest: float | None
    factors: Factors | None


def compared(store: FeatureStore, run: dict[str, Any], *, rank_by: str | None = None) -> Compared:
    """`comparison` with `significance.annotate` on the rows of the whole training part.

    In a multiclass task also with ``calibration``, ``calibration_limit`` and ``calibration_p``, from all out-of-fold
    predictions of each repeat and seed, and with the figures of `with_surest`. Where the task has no metric
    ``rank_by``, by its first one.
    """
    metric = rank_by if rank_by in TASKS[run["task"]] else primary(run)
    sure = confidences(store, run)
    rows = with_surest(comparison(store, run, rank_by=metric), risk_curves(sure))
    for row in rows:
        if repeats := sure.get((row["backbone"], row["head"], row["size"])):
            one = calibration(repeats)
            row |= {"calibration": one.error, "calibration_limit": one.limit, "calibration_p": one.p_value}
    backbone, _, head = (run["reference"] or "").rpartition("/")
    reference = (backbone, head) if head else None
    whole = [row for row in rows if row["size"] == 1.0 and row[metric] is not None]
    cells = whole_cells(store, run)
    images = image_results(store, run, cells)
    results = _results(store, run, cells, images, metric)
    main = _inferred(results)
    loss = main if metric == LOSS else None
    if LOSS in TASKS[run["task"]] and loss is None:
        loss = _inferred(_results(store, run, cells, images, LOSS))
    known = reference if reference in [name_of(row) for row in whole] else None
    annotate(whole, main, reference=known, loss=loss)
    if results is None or main is None:
        return Compared(rows, metric, None, None, None)
    return Compared(rows, metric, main, smallest_seen(main, known), factors(results, main))


def known_metric(rank_by: str | None, *, tasks: Collection[str] = tuple(TASKS)) -> None:
    """Refuse a metric that none of ``tasks`` has.

    Raises
    ------
    InputError
        Which metrics they have.
    """
    if rank_by is None or any(rank_by in TASKS[task] for task in tasks):
        return
    known = dict.fromkeys(metric for task in tasks for metric in TASKS[task])
    hint = alike(rank_by, known) or f"expected one of {', '.join(known)}"
    raise InputError(f"got {rank_by!r} to rank by, {hint}")


def _inferred(results: Results | None) -> Inference | None:
    if results is None:
        return None
    floors = [row for row in results.values if is_majority(row)]
    return infer(results, left_out=floors)


def _results(
    store: FeatureStore, run: dict[str, Any], cells: list[str], images: ImageResults | None, metric: str
) -> Results | None:
    if images is None:
        return None
    has_floor = any(is_majority(row) for row in images.correct)
    floor = None if has_floor or run["task"] != "multiclass" else int(np.argmax(run["class_counts"]))
    found = images.results(metric, floor=floor)
    return found if found is not None else split_results(store, run, cells, metric)
