"""Charts of stored results as inline SVG; they read figures and draw, nothing else.

Each chart is a list of panels of one width, which a page sets side by side or, on a phone, under each other.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.report.columns import spelled
from benchmarks.scores.calibration import Reliability
from featurestore._optional import import_extra

# Okabe and Ito's colours, which colour-blind readers tell apart, without the yellow, which is too light on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
INK, FAINT = "#222222", "#767676"
MARKERS = "osD^vPX"
# Inches; on a phone of 390 pixels a letter of size 9 is then still 11 pixels high.
WIDTH = 4.2


def _panel(height: float, *, title: str = "") -> tuple[Any, Any]:
    """A figure with one pair of axes; ``height`` in inches, kept large enough for labels and title."""
    figures = import_extra("matplotlib.figure", "bench", needed_by="the charts of a report")
    figure = figures.Figure(figsize=(WIDTH, max(height, 1.7)), layout="constrained")
    axis = figure.subplots()
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=INK)
    axis.set_title(textwrap.fill(title, 48), fontsize=9.5, loc="left")
    return figure, axis


def _svg(figure: Any) -> str:
    matplotlib = import_extra("matplotlib", "bench", needed_by="the charts of a report")
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "report", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]


def _by_backbone(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of each backbone, in the order in which they come: that of the best row first."""
    return {name: [r for r in rows if r["backbone"] == name] for name in dict.fromkeys(r["backbone"] for r in rows)}


def _padded(low: float, high: float) -> tuple[float, float]:
    margin = 0.06 * (high - low) or 0.01
    return low - margin, high + margin


def intervals(rows: Sequence[dict[str, Any]], *, majority: float | None) -> list[str]:
    """Accuracy with its 95 % interval, a panel a backbone: filled in the set of best rows."""
    shown = [row for row in rows if row.get("interval")]
    ends = [end for row in shown for end in row["interval"]] + ([] if majority is None else [majority])
    panels = []
    for backbone, own in _by_backbone(shown).items():
        published = own[0]["published"]
        labels = [textwrap.fill(row["head"], 22) for row in own]
        lines = sum(1.4 if "\n" in label else 1.0 for label in labels)
        figure, axis = _panel(1.0 + 0.22 * lines, title="published, other images" if published else backbone)
        for place, row in enumerate(own):
            color = FAINT if published else COLORS[0]
            axis.hlines(place, *row["interval"], color=color, linewidth=1.6)
            filled = color if row["in_best_set"] else "white"
            axis.plot(row["accuracy"], place, "o", color=color, markerfacecolor=filled, markersize=5)
        if majority is not None:
            axis.axvline(majority, color=COLORS[1], linewidth=1, linestyle="--")
        axis.set_yticks(range(len(own)), labels)
        axis.set_ylim(len(own) - 0.4, -0.6)
        axis.set_xlim(*_padded(min(ends), max(ends)))
        axis.set_xlabel("accuracy, 95 % interval")
        axis.grid(axis="x", color="#e5e5e5", linewidth=0.6)
        axis.set_axisbelow(True)
        panels.append(_svg(figure))
    return panels


def cost(rows: Sequence[dict[str, Any]], *, metric: str) -> list[str]:
    """A score against the seconds of one fit, logarithmic; a panel a backbone, on the same scales."""
    shown = [row for row in rows if _seconds(row) and row.get(metric) is not None]
    if not shown:
        return []
    x, y = np.array([[_seconds(row), row[metric]] for row in shown], float).T
    panels = []
    for backbone, own in _by_backbone(shown).items():
        figure, axis = _panel(3.2, title=backbone)
        axis.set_xscale("log")
        # Room on the right for the names of the slowest.
        axis.set_xlim(x.min() / 1.5, x.max() * max(4.0, (x.max() / x.min()) ** 0.4))
        axis.set_ylim(*_padded(y.min(), y.max()))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.scatter([_seconds(row) for row in own], [row[metric] for row in own], s=20, color=COLORS[0])
        axis.set_xlabel("seconds of one fit on one thread")
        axis.set_ylabel(spelled(metric))
        figure.draw_without_rendering()  # lays the axes out, so that names can be placed
        _names(axis, [(float(_seconds(row) or 0), float(row[metric]), row["head"]) for row in own])
        panels.append(_svg(figure))
    return panels


def _names(axis: Any, points: Sequence[tuple[float, float, str]]) -> None:
    """A name to the right of each point, moved up or down, with a thin line back, where it would cover another."""
    points_per_pixel = 72 / axis.figure.dpi
    places = [axis.transData.transform((seconds, score)) * points_per_pixel for seconds, score, _ in points]
    # What a name must not cover, in points: left, right, middle.
    taken: list[tuple[float, float, float]] = [(x - 4, x + 4, y) for x, y in places]
    bottom, top = (edge * points_per_pixel for edge in (axis.bbox.y0 + 5, axis.bbox.y1 - 5))
    for seconds, score, name in sorted(points, key=lambda point: -point[1]):
        x, y = axis.transData.transform((seconds, score)) * points_per_pixel
        left, right = x + 5, x + 5 + 4.3 * len(name)
        moves = sorted((move for move in range(-60, 61, 3) if bottom <= y + move <= top), key=abs)
        free = (m for m in moves if all(abs(y + m - at) > 10 or right < a or left > b for a, b, at in taken))
        move = next(free, 0)
        taken.append((left, right, y + move))
        line = (
            {"arrowstyle": "-", "color": FAINT, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2} if abs(move) > 6 else None
        )
        axis.annotate(
            name, (seconds, score), (5, move), textcoords="offset points", fontsize=7.5, va="center", arrowprops=line
        )


def _seconds(row: dict[str, Any]) -> float | None:
    found = row.get("cost_fit_seconds")
    return found if found is not None else row.get("fit_seconds")


def per_class(found: Mapping[str, Mapping[str, NDArray[np.float64]]], classes: Sequence[str]) -> list[str]:
    """Precision, recall and F1 of each class, a panel each, a bar a row."""
    height = 0.8 / max(len(found), 1)
    support = next(iter(found.values()))["support"]
    labels = [f"{name} ({count:.0f})" for name, count in zip(classes, support, strict=True)]
    panels = []
    for score in ("precision", "recall", "f1"):
        bars = len(found) * len(classes)
        figure, axis = _panel(1.0 + 0.13 * bars + 0.2 * len(found), title="F1" if score == "f1" else score)
        for number, (name, values) in enumerate(found.items()):
            places = np.arange(len(classes)) + (number - (len(found) - 1) / 2) * height
            axis.barh(places, values[score], height * 0.9, color=COLORS[number % len(COLORS)], label=name)
        axis.set_xlim(0, 1)
        axis.set_yticks(range(len(classes)), labels)
        axis.invert_yaxis()
        figure.legend(loc="outside lower left", fontsize=8, frameon=False)
        panels.append(_svg(figure))
    return panels


def confusions(found: Mapping[str, NDArray[np.int64]], classes: Sequence[str]) -> list[str]:
    """A matrix a row: share of each true class that was predicted as each class."""
    panels = []
    for name, counts in found.items():
        figure, axis = _panel(1.5 + 0.34 * len(classes), title=name)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > 0.55 else INK
            axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9, color=color)
        axis.set_xticks(range(len(classes)), classes, rotation=30, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(classes)), classes)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
        axis.set_ylabel("true class")
        axis.set_xlabel("predicted as, % of the true class")
        panels.append(_svg(figure))
    return panels


def calibration(found: Mapping[str, Reliability]) -> list[str]:
    """Accuracy with its 95 % interval against confidence, a panel a row; a point is a bin of about as many rows."""
    panels = []
    for name, curve in found.items():
        figure, axis = _panel(3.2, title=name)
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        axis.plot(curve.confidence, curve.accuracy, color=COLORS[0], linewidth=1)
        axis.vlines(curve.confidence, curve.low, curve.high, color=COLORS[0], linewidth=1)
        # The points of the margins are shown whole.
        axis.scatter(curve.confidence, curve.accuracy, s=18, color=COLORS[0], clip_on=False)
        axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        panels.append(_svg(figure))
    return panels


def learning_curves(rows: Sequence[dict[str, Any]], *, metric: str) -> list[str]:
    """A score against the number of training rows, a panel a backbone, a line a head."""
    heads = sorted({row["head"] for row in rows})
    scores = [row[metric] for row in rows if row.get(metric) is not None]
    panels = []
    for backbone, known in _by_backbone(rows).items():
        figure, axis = _panel(3.0 + 0.16 * -(-len(heads) // 2), title=backbone)
        for number, head in enumerate(heads):
            own = [row for row in known if row["head"] == head and row.get(metric) is not None]
            own.sort(key=lambda row: row["size"])
            axis.plot(
                [row["n_train"] for row in own],
                [row[metric] for row in own],
                "-" if number < len(COLORS) else "--",
                marker=MARKERS[number % len(MARKERS)],
                markersize=3.5,
                linewidth=1.2,
                color=COLORS[number % len(COLORS)],
                label=head,
            )
        axis.set_ylim(*_padded(min(scores), max(scores)))
        axis.set_xlabel("training rows")
        axis.set_ylabel(spelled(metric))
        figure.legend(loc="outside lower left", ncols=2, fontsize=8, frameon=False)
        panels.append(_svg(figure))
    return panels
