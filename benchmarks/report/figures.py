"""Which figures a section of the report shows, with title and caption; how they look is in `charts` and `plots`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import charts, plots, shift, svg
from benchmarks.report.charts import Bar, Interval, Series
from benchmarks.report.columns import spelled
from benchmarks.results.breakdown import Row, RowPredictions
from benchmarks.scores.calibration import Reliability
from benchmarks.scores.selective import COVERAGE, RiskCoverage, risk_coverage

# How many rows are looked at in detail; from how many classes on only the worst and the best are shown, how many pairs
# of classes, and how many classes of each kind.
DETAILED, MANY, PAIRS, EXTREMES = 3, 12, 20, 10
# Title, caption, and the SVG of each panel.
Figure = dict[str, Any]
TableRow = dict[str, Any]


@dataclass(frozen=True)
class _Detail:
    """What the figures show of a row; its predictions are not kept, since those of several may not fit into memory."""

    name: str
    scores: dict[str, NDArray[np.float64]]
    counts: NDArray[np.int64]
    reliability: Reliability
    risk: RiskCoverage


def figures(
    run: dict[str, Any],
    table: dict[str, Any],
    predicted: Mapping[Row, RowPredictions],
    *,
    floor: float | None,
    metric: str,
) -> list[Figure]:
    """The figures that the run has results for, in the order of the page.

    Parameters
    ----------
    predicted
        The predictions of the rows, empty where they are not shown.
    floor
        As `claims.floor_score` gives it.
    """
    scored = [row for row in table["rows"] if row.get(metric) is not None]
    whole = [row for row in scored if row.get("size", 1.0) == 1.0]
    mine = [row for row in whole if not row["published"]]
    if not mine:
        return []
    if table["protocol"] == "learning-curve":
        caption = "Mean over the test folds; each smaller training part lies within the larger ones."
        return [figure("Score by number of training rows", caption, plots.learning_curves(scored, metric=metric))]
    learned = [row for row in mine if row["head"] != "majority"]
    named = [(row["backbone"], row["head"]) for row in learned]
    detailed = {f"{head} · {backbone}": (backbone, head) for backbone, head in named if (backbone, head) in predicted}
    shown = [_detail(name, predicted[row]) for name, row in list(detailed.items())[:DETAILED]]
    # A new figure is added here, at its place in the page: `*` before a call that gives several or none.
    return [
        *([_accuracy(whole, mine, floor=floor)] if run["task"] == "multiclass" else []),
        *differences(learned, metric=metric),
        _cost(learned, metric=metric),
        *(_classes(shown, run["classes"]) if shown else []),
        *([_calibration(shown), _risk(shown)] if shown else []),
        *(shift.figures(table["across"], draw=charts.matrix) if "across" in table else []),
    ]


def _detail(name: str, row: RowPredictions) -> _Detail:
    right = row.proba.argmax(axis=1) == row.y
    return _Detail(name, row.per_class, row.confusion, row.reliability, risk_coverage(row.proba.max(axis=1), right))


def figure(title: str, caption: str, panels: Sequence[str]) -> Figure:
    """A figure as the page shows it; ``panels`` are SVG."""
    return {"title": title, "caption": caption, "panels": panels}


def _accuracy(whole: Sequence[TableRow], mine: Sequence[TableRow], *, floor: float | None) -> Figure:
    compared = "Filled: in the set of best rows. "
    caption = f"{compared if len(mine) > 1 else ''}Dashed: the most frequent class alone."
    return figure("Accuracy with intervals", caption, plots.intervals(whole, majority=floor))


def differences(learned: Sequence[TableRow], *, metric: str) -> list[Figure]:
    """The differences from the reference with their simultaneous intervals, by ``metric`` and by log loss."""
    kinds = {metric: ""} | ({"log_loss": "log_loss_"} if metric != "log_loss" else {})
    panels = []
    for name, prefix in kinds.items():
        items = [_difference(row, prefix) for row in learned if row.get(f"{prefix}difference_interval")]
        if items:
            panels.append(charts.intervals(items, title=spelled(name), axis="difference from the reference", line=0.0))
    caption = (
        "All intervals of a panel hold together with 95\u00a0%. Filled: in the set of best rows. "
        "Of log loss the lower is the better."
    )
    return [figure("Differences from the reference", caption, panels)] if panels else []


def _difference(row: TableRow, prefix: str) -> Interval:
    low, high = row[f"{prefix}difference_interval"]
    filled = bool(row[f"{prefix}in_best_set"])
    return Interval(row["head"], row[f"{prefix}difference"], low, high, filled, row["backbone"])


def _cost(learned: Sequence[TableRow], *, metric: str) -> Figure:
    caption = "Up and to the left is better. Fits measured one at a time where the cost pass ran, else during the run."
    return figure("Score against cost", caption, plots.cost(learned, metric=metric))


def _calibration(shown: Sequence[_Detail]) -> Figure:
    caption = "On the dashed line a probability of 0.6 is right in 60\u00a0% of cases; below, the head is too sure."
    return figure("Calibration", caption, plots.calibration({one.name: one.reliability for one in shown}))


def _risk(shown: Sequence[_Detail]) -> Figure:
    caption = (
        "Over all out-of-fold predictions: on the right the accuracy on all images, to the left on those alone of "
        "which the head is surest."
    )
    # Of fewer images it is noise.
    told = COVERAGE >= 0.05
    series = [Series(one.name, COVERAGE[told], 1 - one.risk.risk[told]) for one in shown]
    panel = charts.curves(series, title="", x_axis="share of the images, surest first", y_axis="accuracy")
    return figure("Accuracy on the surest images", caption, [panel])


def _classes(shown: Sequence[_Detail], classes: Sequence[str]) -> list[Figure]:
    """Scores and confusions by class; of many classes the worst and the best."""
    scores = {one.name: one.scores for one in shown}
    counts = {one.name: one.counts for one in shown}
    images = "Number of different images in brackets; every out-of-fold prediction counts."
    if len(classes) < MANY:
        return [
            figure("Classes", images, plots.per_class(scores, classes)),
            figure("Confusion", "Rows sum to 100 per cent.", plots.confusions(counts, classes)),
        ]
    of_classes = f"Of {len(classes)} classes the {EXTREMES} with the lowest and the {EXTREMES} with the highest F1. "
    of_classes = of_classes if len(classes) > 2 * EXTREMES else ""
    of_pairs = (
        f"The {PAIRS} most frequent pairs of true → predicted class, with the share of the true class. "
        "Every out-of-fold prediction counts."
    )
    return [
        figure("Classes", of_classes + images, [_by_f1(name, one, classes) for name, one in scores.items()]),
        figure("Confusion", of_pairs, [_worst_pairs(name, one, classes) for name, one in counts.items()]),
    ]


def _by_f1(name: str, scores: Mapping[str, NDArray[np.float64]], classes: Sequence[str]) -> str:
    """A bar for each of the worst and of the best classes, of all where they are few; those never seen are left out."""
    seen = np.flatnonzero(scores["support"] > 0)
    order = seen[np.argsort(scores["f1"][seen], kind="stable")].tolist()
    places = [(place, "") for place in order]
    if len(order) > 2 * EXTREMES:
        worst, best = order[:EXTREMES], order[: -EXTREMES - 1 : -1]
        places = [(place, f"lowest of {len(order)}") for place in worst] + [(place, "highest") for place in best]
    items = []
    for place, group in places:
        images = f" ({scores['support'][place]:.0f})"
        short = svg.shortened(classes[place], svg.WIDTH - svg.text_width(images)) + images
        items.append(Bar(short, float(scores["f1"][place]), group=group, whole=classes[place] + images))
    return charts.bars(items, title=name, axis="F1", most=1.0)


def _worst_pairs(name: str, counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """A bar for each of the most frequent confusions."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    total = int(wrong.sum())
    if not total:
        return svg.sentence(name, "Every prediction is right.")
    support = counts.sum(axis=1)
    # Of equally frequent pairs those of the smaller true class first.
    shares = wrong / np.maximum(support, 1)[:, None]
    order = np.lexsort((-shares.ravel(), -wrong.ravel()))[:PAIRS]
    places = [divmod(int(place), len(classes)) for place in order if wrong.ravel()[place]]
    items = []
    for true, predicted in places:
        pair = (classes[true], classes[predicted])
        note = f"{wrong[true, predicted]:,} of {support[true]:,} ({shares[true, predicted]:.0%})"
        # Each is shortened by itself: of a long pair both must be seen.
        short = " → ".join(svg.shortened(one, svg.WIDTH / 2 - 14) for one in pair)
        items.append(Bar(short, float(wrong[true, predicted]), note, whole=" → ".join(pair)))
    share = sum(item.value for item in items) / total
    return charts.bars(items, title=name, axis=f"predictions, {share:.0%} of all {total:,} wrong ones")
