"""Which figures a section of the report shows, with title and caption; how they look is in the modules of charts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report import charts, details, matrices, planes, shift
from benchmarks.report.charts import Interval
from benchmarks.report.columns import spelled
from benchmarks.report.planes import Point, Series
from benchmarks.results.breakdown import Row, RowPredictions
from benchmarks.scores.metrics import TASKS

# How many rows are looked at in detail, and how many have a name in the chart of costs.
DETAILED, NAMED = 3, 20
NAN = math.nan
# Title, caption, and the SVG of each panel; what a page knows of its marks, by their keys: `cells` and `maps`.
Figure = dict[str, Any]
TableRow = dict[str, Any]


def figures(
    run: dict[str, Any],
    table: dict[str, Any],
    predicted: Mapping[Row, RowPredictions],
    *,
    floor: float | None,
    metric: str,
    maps: Sequence[Figure] = (),
    prefix: str = "",
) -> list[Figure]:
    """The figures that the run has results for, in the order of the page.

    Parameters
    ----------
    predicted
        The predictions of the rows, empty where they are not shown.
    floor
        As `claims.floor_score` gives it.
    maps
        As `maps.map_figures` gives them.
    prefix
        Begins the keys of the cells whose images a page shows; none where it is empty.
    """
    scored = [row for row in table["rows"] if row.get(metric) is not None]
    whole = [row for row in scored if row.get("size", 1.0) == 1.0]
    mine = [row for row in whole if not row["published"]]
    if not mine:
        return []
    better = TASKS[run["task"]][metric].better
    if table["protocol"] == "learning-curve":
        caption = "Mean over the test folds; each smaller training part lies within the larger ones."
        return [figure("Score by number of training rows", caption, _learning_curves(scored, metric=metric))]
    learned = [row for row in mine if row["head"] != "majority"]
    named = [(row["backbone"], row["head"]) for row in learned]
    detailed = {f"{head} · {backbone}": (backbone, head) for backbone, head in named if (backbone, head) in predicted}
    shown = [details.detail(name, predicted[row]) for name, row in list(detailed.items())[:DETAILED]]
    # A new figure is added here, at its place in the page: `*` before a call that gives several or none.
    return [
        *([_accuracy(whole, mine, floor=floor)] if run["task"] == "multiclass" else []),
        *differences(learned, metric=metric),
        *_cost(learned, metric=metric, better=better),
        *([details.risk(shown)] if shown else []),
        *maps,
        *(details.classes(shown, run["classes"], prefix=prefix) if shown else []),
        *([details.calibration(shown)] if shown else []),
        *(shift.figures(table["across"], draw=matrices.matrix) if "across" in table else []),
    ]


def figure(title: str, caption: str, panels: Sequence[str]) -> Figure:
    """A figure as the page shows it; ``panels`` are SVG."""
    return {"title": title, "caption": caption, "panels": panels}


def _accuracy(whole: Sequence[TableRow], mine: Sequence[TableRow], *, floor: float | None) -> Figure:
    compared = "Filled: in the set of best rows. "
    caption = f"{compared if len(mine) > 1 else ''}Dashed: the most frequent class alone."
    items = []
    for row in whole:
        if row["head"] == "majority" and floor is not None and len(mine) > 1:
            continue  # the dashed line
        low, high = row.get("interval") or (NAN, NAN)
        group = "published, other images" if row["published"] else row["backbone"]
        filled, faint = bool(row["in_best_set"]), bool(row["published"])
        items.append(Interval(row["head"], row["accuracy"], low, high, filled, group, faint))
    panel = charts.intervals(items, title="accuracy", axis="accuracy, 95 % interval", line=floor)
    return figure("Accuracy with intervals", caption, [panel])


def differences(learned: Sequence[TableRow], *, metric: str) -> list[Figure]:
    """The differences from the reference with their simultaneous intervals, by ``metric`` and by log loss."""
    kinds = {metric: ""} | ({"log_loss": "log_loss_"} if metric != "log_loss" else {})
    panels = []
    for name, prefix in kinds.items():
        tested = any(row.get(f"{prefix}difference_interval") for row in learned)
        items = [item for row in learned if (item := _difference(row, prefix)) is not None]
        if tested:
            panels.append(charts.intervals(items, title=spelled(name), axis="difference from the reference", line=0.0))
    caption = (
        "All intervals of a panel hold together with 95\u00a0%. Filled: in the set of best rows. "
        "Of log loss the lower is the better."
    )
    return [figure("Differences from the reference", caption, panels)] if panels else []


def _difference(row: TableRow, prefix: str) -> Interval | None:
    """That of a row, 0 of the reference; None where a row is not compared."""
    if row.get("reference"):
        return Interval(f"{row['head']} (R)", 0.0, NAN, NAN, bool(row[f"{prefix}in_best_set"]), row["backbone"])
    if not row.get(f"{prefix}difference_interval"):
        return None
    low, high = row[f"{prefix}difference_interval"]
    filled = bool(row[f"{prefix}in_best_set"])
    return Interval(row["head"], row[f"{prefix}difference"], low, high, filled, row["backbone"])


def _cost(learned: Sequence[TableRow], *, metric: str, better: str) -> list[Figure]:
    """All backbones on one pair of axes; the rows that no cheaper one is as good as are named first."""
    rows = [row for row in learned if _seconds(row)]
    if not rows:
        return []
    sign = 1 if better == "higher" else -1
    ahead, best = [], -math.inf
    for row in sorted(rows, key=lambda row: (_seconds(row), -sign * row[metric])):
        if sign * row[metric] > best:
            best = sign * row[metric]
            ahead.append(row)
    ordered = [*ahead[::-1], *(row for row in rows if not any(row is one for one in ahead))]
    items = [Point(row["head"], _seconds(row), row[metric], row["backbone"]) for row in ordered]
    named = "" if len(rows) <= NAMED else " Named are the rows that no cheaper one is as good as; the others on hover."
    caption = (
        f"{'Up' if sign > 0 else 'Down'} and to the left is better.{named} "
        "Fits measured one at a time where the cost pass ran, else during the run."
    )
    axis = "seconds of one fit on one thread"
    most = len(rows) if len(rows) <= NAMED else len(ahead)
    panel = planes.points(items, title="all backbones", x_axis=axis, y_axis=spelled(metric), log_x=True, named=most)
    return [figure("Score against cost", caption, [panel])]


def _seconds(row: TableRow) -> float:
    """Those of one fit, measured alone where they were; 0 where nothing was measured."""
    found = row.get("cost_fit_seconds")
    return float((found if found is not None else row.get("fit_seconds")) or 0.0)


def _learning_curves(rows: Sequence[TableRow], *, metric: str) -> list[str]:
    """A panel a backbone, all with the same vertical axis, a line a head, of one colour in all panels."""
    heads = sorted({row["head"] for row in rows})
    ends = [row[metric] for row in rows]
    panels = []
    for backbone in dict.fromkeys(row["backbone"] for row in rows):
        lines = []
        for head in heads:
            own = [row for row in rows if (row["backbone"], row["head"]) == (backbone, head)]
            own.sort(key=lambda row: row["size"])
            lines.append(Series(head, [row["n_train"] for row in own], [row[metric] for row in own]))
        axis = spelled(metric)
        panels.append(planes.curves(lines, title=backbone, x_axis="training rows", y_axis=axis, y_ends=ends))
    return panels
