"""What the predictions of single rows show as figures: classes, confusion, calibration, the surest images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import charts, matrices, planes, svg
from benchmarks.report.charts import Bar
from benchmarks.report.confusions import CellImages, Pair, cell_images, surest
from benchmarks.report.planes import Series
from benchmarks.results.breakdown import RowPredictions
from benchmarks.scores.calibration import Reliability
from benchmarks.scores.selective import COVERAGE, RiskCoverage, risk_coverage

# From how many classes on only the worst and the best are shown, how many pairs of classes, and how many classes of
# each kind.
MANY, PAIRS, EXTREMES = 12, 20, 10


@dataclass(frozen=True)
class RowDetail:
    """What the figures show of a row; its predictions are not kept, since those of several may not fit into memory."""

    name: str
    scores: dict[str, NDArray[np.float64]]
    counts: NDArray[np.int64]
    images: dict[Pair, tuple[int, tuple[int, ...]]]
    reliability: Reliability
    risk: RiskCoverage


def detail(name: str, row: RowPredictions) -> RowDetail:
    """The details of a row under the ``name`` that the figures give it."""
    right = row.proba.argmax(axis=1) == row.y
    risks = risk_coverage(row.proba.max(axis=1), right)
    return RowDetail(name, row.per_class, row.confusion, surest(row), row.reliability, risks)


def calibration(shown: Sequence[RowDetail]) -> dict[str, Any]:
    """Accuracy with its 95 % interval against confidence, a panel a row; a point is a bin of about as many rows."""
    caption = "On the dashed line a probability of 0.6 is right in 60\u00a0% of cases; below, the head is too sure."
    panels = []
    for one in shown:
        curve = one.reliability
        line = Series("accuracy", curve.confidence, curve.accuracy, curve.low, curve.high)
        panels.append(planes.curves([line], title=one.name, x_axis="confidence", y_axis="accuracy", diagonal=True))
    return {"title": "Calibration", "caption": caption, "panels": panels}


def risk(shown: Sequence[RowDetail]) -> dict[str, Any]:
    """Accuracy on the share of the images of which a row is surest."""
    caption = (
        "Over all out-of-fold predictions: on the right the accuracy on all images, to the left on those alone of "
        "which the head is surest."
    )
    # Of fewer images it is noise.
    told = COVERAGE >= 0.05
    series = [Series(one.name, COVERAGE[told], 1 - one.risk.risk[told]) for one in shown]
    axis = "share of the images, surest first"
    panel = planes.curves(series, title="the first rows of the table", x_axis=axis, y_axis="accuracy")
    return {"title": "Accuracy on the surest images", "caption": caption, "panels": [panel]}


def classes(shown: Sequence[RowDetail], names: Sequence[str], *, prefix: str) -> list[dict[str, Any]]:
    """Scores and confusions by class; of many classes the worst and the best.

    Parameters
    ----------
    prefix
        Begins the keys of the cells whose images a page shows; none where it is empty.
    """
    images = "Number of different images in brackets; every out-of-fold prediction counts."
    cells: dict[str, CellImages] = {}
    if len(names) < MANY:
        confusion = [_confusion(one, names, prefix and f"{prefix}{number}-", cells) for number, one in enumerate(shown)]
        of_cells = "Rows sum to 100 per cent; every out-of-fold prediction counts."
        return [
            {"title": "Classes", "caption": images, "panels": _scores(shown, names)},
            {"title": "Confusion", "caption": of_cells, "panels": confusion, "cells": cells},
        ]
    of_classes = f"Of {len(names)} classes the {EXTREMES} with the lowest and the {EXTREMES} with the highest F1. "
    of_classes = of_classes if len(names) > 2 * EXTREMES else ""
    of_pairs = (
        f"The {PAIRS} most frequent pairs of true → predicted class, with the share of the true class. "
        "Every out-of-fold prediction counts."
    )
    pairs = [_worst_pairs(one, names, prefix and f"{prefix}{number}-", cells) for number, one in enumerate(shown)]
    return [
        {"title": "Classes", "caption": of_classes + images, "panels": [_by_f1(one, names) for one in shown]},
        {"title": "Confusion", "caption": of_pairs, "panels": pairs, "cells": cells},
    ]


def _scores(shown: Sequence[RowDetail], names: Sequence[str]) -> list[str]:
    """Precision, recall and F1 of each class, a panel each, a colour a row."""
    support = shown[0].scores["support"].tolist()
    rows = [_counted(name, count, svg.WIDTH * 0.42) for name, count in zip(names, support, strict=True)]
    return [
        charts.dots(rows, {one.name: one.scores[score].tolist() for one in shown}, title=title, axis=title)
        for score, title in (("precision", "precision"), ("recall", "recall"), ("f1", "F1"))
    ]


def _counted(name: str, count: float, room: float) -> str:
    images = f" ({count:.0f})"
    return svg.shortened(name, room - svg.text_width(images)) + images


def _confusion(one: RowDetail, names: Sequence[str], prefix: str, cells: dict[str, CellImages]) -> str:
    """The share of each true class that was predicted as each class; ``cells`` takes what a page tells of each."""
    shares = one.counts / np.maximum(one.counts.sum(axis=1, keepdims=True), 1)
    keys = {pair: f"{prefix}{pair[0]}-{pair[1]}" for pair in np.ndindex(*one.counts.shape)} if prefix else {}
    cells.update((key, cell_images(one.counts, one.images, names, pair)) for pair, key in keys.items())
    return matrices.matrix(
        shares,
        rows=names,
        columns=names,
        title=one.name,
        form=".0%",
        row_axis="true class",
        column_axis="predicted as, % of the true class",
        ends=(0.0, 1.0),
        keys=keys,
        between=" predicted as ",
    )


def _by_f1(one: RowDetail, names: Sequence[str]) -> str:
    """A bar for each of the worst and of the best classes, of all where they are few; those never seen are left out."""
    scores = one.scores
    seen = np.flatnonzero(scores["support"] > 0)
    order = seen[np.argsort(scores["f1"][seen], kind="stable")].tolist()
    places = [(place, "") for place in order]
    if len(order) > 2 * EXTREMES:
        worst, best = order[:EXTREMES], order[: -EXTREMES - 1 : -1]
        places = [(place, f"lowest of {len(order)}") for place in worst] + [(place, "highest") for place in best]
    items = []
    for place, group in places:
        count = float(scores["support"][place])
        short, whole = _counted(names[place], count, svg.WIDTH), f"{names[place]} ({count:.0f})"
        items.append(Bar(short, float(scores["f1"][place]), group=group, whole=whole))
    return charts.bars(items, title=one.name, axis="F1", most=1.0)


def _worst_pairs(one: RowDetail, names: Sequence[str], prefix: str, cells: dict[str, CellImages]) -> str:
    """A bar for each of the most frequent confusions; ``cells`` takes what a page tells of each."""
    wrong = one.counts.copy()
    np.fill_diagonal(wrong, 0)
    total = int(wrong.sum())
    if not total:
        return svg.sentence(one.name, "Every prediction is right.")
    support = one.counts.sum(axis=1)
    # Of equally frequent pairs those of the smaller true class first.
    shares = wrong / np.maximum(support, 1)[:, None]
    order = np.lexsort((-shares.ravel(), -wrong.ravel()))[:PAIRS]
    places = [divmod(int(place), len(names)) for place in order if wrong.ravel()[place]]
    items = []
    for true, predicted in places:
        pair = (names[true], names[predicted])
        note = f"{wrong[true, predicted]:,} of {support[true]:,} ({shares[true, predicted]:.0%})"
        # Each is shortened by itself: of a long pair both must be seen.
        short = " → ".join(svg.shortened(name, svg.WIDTH / 2 - 14) for name in pair)
        key = prefix and f"{prefix}{true}-{predicted}"
        if key:
            cells[key] = cell_images(one.counts, one.images, names, (true, predicted))
        items.append(Bar(short, float(wrong[true, predicted]), note, whole=" → ".join(pair), key=key))
    share = sum(item.value for item in items) / total
    return charts.bars(items, title=one.name, axis=f"predictions, {share:.0%} of all {total:,} wrong ones")
