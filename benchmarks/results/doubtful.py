"""Labels that the out-of-fold predictions contradict, by confident learning; nothing is fitted."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.plan.protocols import ONE_SPLIT
from benchmarks.results.breakdown import ImageProbabilities
from benchmarks.results.selection import selected
from featurestore import FeatureStore
from featurestore._optional import import_extra
from featurestore.errors import InputError

COLUMNS = ("ImgId", "given", "suggested", "p_given", "p_suggested", "ImgName", "title")


@dataclass(frozen=True)
class DoubtfulLabel:
    """A label that is probably wrong.

    Parameters
    ----------
    given, suggested
        Class codes: the label of the store, and the most probable class.
    score
        The mean probability of the given label, 0 to 1; low is doubtful.
    sure
        The mean probability of the suggested one.
    """

    img_id: int
    given: int
    suggested: int
    score: float
    sure: float


def doubtful_labels(known: ImageProbabilities) -> list[DoubtfulLabel]:
    """The labels that confident learning (Northcutt, Jiang and Chuang 2021, JAIR 70) finds wrong, most doubtful first.

    It counts, for each pair of classes, the images that are given one and predicted as the other with at least the mean
    probability of that other class over its own images, and takes of each pair as many, those with the largest margin.
    The probabilities are means over all rows of a table that learn: that gives the order of the uniform ensemble of
    `cleanlab.rank.get_label_quality_ensemble_scores`, and no row has to be chosen.
    """
    filters = import_extra("cleanlab.filter", "bench", needed_by="the list of doubtful labels")
    if len(np.unique(known.y)) < 2:
        return []
    # Other classes than those of the images can't be confused: the filter wants each of its classes to have one.
    present, y = np.unique(known.y, return_inverse=True)
    proba = known.proba[:, present]
    sums = proba.sum(axis=1, keepdims=True)
    proba = np.where(sums > 0, proba / np.maximum(sums, 1e-12), 1 / len(present))
    with warnings.catch_warnings():
        # A class of one image is never doubted: that is meant.
        warnings.filterwarnings("ignore", message="May not flag all label issues", category=UserWarning)
        wrong = np.flatnonzero(filters.find_label_issues(y, proba, n_jobs=1))
    suggested = known.proba.argmax(axis=1)
    found = [
        DoubtfulLabel(
            int(known.ids[i]),
            int(known.y[i]),
            int(suggested[i]),
            float(known.proba[i, known.y[i]]),
            float(known.proba[i, suggested[i]]),
        )
        for i in wrong.tolist()
        if suggested[i] != known.y[i]
    ]
    return sorted(found, key=lambda one: (round(one.score, 9), one.img_id))


def asked_run(store: FeatureStore, run_id: str | None) -> dict[str, Any]:
    """The run whose predictions are compared with the labels: the named one, else the newest with one label an image.

    Of the newest runs one with cross-validation, since it predicts every image.

    Raises
    ------
    InputError
        When there is none, or the named one has several labels an image or shuffled labels.
    """
    found = [run for run in selected(store, run_id=run_id) if _is_fitting(run)]
    if found:
        return min(found, key=lambda run: run["protocol"] in ONE_SPLIT)
    if run_id is None:
        raise InputError(
            f"the store {store.location!r} has no run with one label an image: start one with `benchmarks run`"
        )
    raise InputError(
        f"the run {run_id} has several labels an image, or shuffled labels: name another one (`benchmarks runs` lists "
        "them)"
    )


def _is_fitting(run: dict[str, Any]) -> bool:
    return run["task"] == "multiclass" and not run["canary"]


def named(found: Sequence[DoubtfulLabel], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The labels as rows for a table: the first five of `COLUMNS`."""
    values = [(one.img_id, classes[one.given], classes[one.suggested], one.score, one.sure) for one in found]
    return [dict(zip(COLUMNS, row, strict=False)) for row in values]


def summary(run: dict[str, Any], known: ImageProbabilities, found: Sequence[DoubtfulLabel], *, rows: int) -> list[str]:
    """How many there are, over how many rows of the table, and how far to believe them."""
    share = float((known.proba.argmax(axis=1) == known.y).mean())
    lines = [
        f"run {run['run_id']}: {len(found)} of {len(known.y):,} labels are doubtful, by confident learning over the "
        f"mean probability of {rows} {'row' if rows == 1 else 'rows'}",
        f"to look at, not to delete: the mean of the rows predicts {share:.0%} of the images correctly, and a hard "
        "image looks the same as a wrong label",
    ]
    return [*lines, "SYNTHETIC data or weights: this says nothing about real images"] if run["synthetic"] else lines
