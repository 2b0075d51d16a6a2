"""Charts of stored results as inline SVG; they read figures and draw, nothing else."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442")
INK, FAINT = "#222222", "#9a9a9a"
MARKERS = "osD^vPX*"


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    figures = import_extra("matplotlib.figure", "bench", needed_by="the charts of a report")
    figure = figures.Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, colors=INK)
        axis.xaxis.label.set_size(9)
        axis.yaxis.label.set_size(9)
    return figure, axes


def _svg(figure: Any) -> str:
    matplotlib = import_extra("matplotlib", "bench", needed_by="the charts of a report")
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "report", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None}, transparent=True)
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]


def intervals(rows: Sequence[dict[str, Any]], *, majority: float | None) -> str:
    """Accuracy with its 95 % interval, a line a row: filled where tied with the best, hollow where not."""
    shown = [row for row in rows if row.get("interval")]
    figure, (axis,) = _figure(6.4, 0.8 + 0.24 * len(shown))
    for place, row in enumerate(shown):
        color = FAINT if row["published"] else COLORS[0]
        axis.hlines(place, *row["interval"], color=color, linewidth=1.6)
        filled = color if row["tied_with_best"] else "white"
        axis.plot(row["accuracy"], place, "o", color=color, markerfacecolor=filled, markersize=5)
    if majority is not None:
        axis.axvline(majority, color=COLORS[1], linewidth=1, linestyle="--")
        axis.annotate(
            "most frequent class", (majority, -0.9), color=COLORS[1], fontsize=7, ha="center", annotation_clip=False
        )
    labels = [row["head"] if row["published"] else f"{row['head']} · {row['backbone']}" for row in shown]
    axis.set_yticks(range(len(shown)), labels)
    axis.invert_yaxis()
    axis.set_xlabel("accuracy, 95 % interval")
    axis.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    axis.set_axisbelow(True)
    return _svg(figure)


def cost(rows: Sequence[dict[str, Any]], *, metric: str) -> str:
    """A score against the seconds of one fit, logarithmic; colour and sign by backbone."""
    figure, (axis,) = _figure(6.4, 3.6)
    backbones = list(dict.fromkeys(row["backbone"] for row in rows))
    for number, backbone in enumerate(backbones):
        own = [row for row in rows if row["backbone"] == backbone and _seconds(row) and row.get(metric) is not None]
        style = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}
        axis.scatter([_seconds(row) for row in own], [row[metric] for row in own], s=26, label=backbone, **style)
        for row in own:
            axis.annotate(
                row["head"], (_seconds(row), row[metric]), fontsize=6, xytext=(4, 2), textcoords="offset points"
            )
    axis.set_xscale("log")
    axis.set_xlabel("seconds of one fit on one thread (logarithmic)")
    axis.set_ylabel(metric.replace("_", " "))
    axis.legend(fontsize=7, frameon=False)
    return _svg(figure)


def _seconds(row: dict[str, Any]) -> float | None:
    found = row.get("cost_fit_seconds")
    return found if found is not None else row.get("fit_seconds")


def per_class(found: Mapping[str, Mapping[str, NDArray[np.float64]]], classes: Sequence[str]) -> str:
    """Precision, recall and F1 of each class, a panel each, a bar a row."""
    figure, axes = _figure(7.6, 0.9 + 0.2 * len(found) * len(classes), 3)
    height = 0.8 / max(len(found), 1)
    support = next(iter(found.values()))["support"]
    for axis, score in zip(axes, ("precision", "recall", "f1"), strict=True):
        for number, (name, values) in enumerate(found.items()):
            places = np.arange(len(classes)) + (number - (len(found) - 1) / 2) * height
            axis.barh(places, values[score], height * 0.9, color=COLORS[number % len(COLORS)], label=name)
        axis.set_xlim(0, 1)
        axis.set_xlabel("F1" if score == "f1" else score)
        labels = [f"{name} ({count:.0f})" for name, count in zip(classes, support, strict=True)]
        axis.set_yticks(range(len(classes)), labels if axis is axes[0] else [])
        axis.invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    return _svg(figure)


def confusions(found: Mapping[str, NDArray[np.int64]], classes: Sequence[str]) -> str:
    """A matrix a row: share of each true class that was told to be each class."""
    size = 0.9 + 0.45 * len(classes)
    figure, axes = _figure(size * len(found) + 0.8, size + 0.6, len(found))
    for axis, (name, counts) in zip(axes, found.items(), strict=True):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            color = "white" if share > 0.55 else INK
            axis.text(column, row, f"{share:.0%}".rstrip("%"), ha="center", va="center", fontsize=7, color=color)
        axis.set_xticks(range(len(classes)), classes, rotation=40, ha="right")
        axis.set_yticks(range(len(classes)), classes if axis is axes[0] else [])
        axis.set_title(name, fontsize=8)
        axis.spines[:].set_visible(False)
    axes[0].set_ylabel("true")
    figure.supxlabel("told to be (per cent of the true class)", fontsize=9)
    return _svg(figure)


def calibration(found: Mapping[str, NDArray[np.float64]]) -> str:
    """Accuracy against confidence, a panel a row; the area of a point is the number of predictions."""
    figure, axes = _figure(2.5 * len(found) + 0.4, 2.9, len(found))
    for number, (axis, (name, bins)) in enumerate(zip(axes, found.items(), strict=True)):
        count, confidence, accuracy = bins[bins[:, 0] > 0].T
        axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        axis.plot(confidence, accuracy, color=COLORS[number % len(COLORS)], linewidth=1)
        axis.scatter(confidence, accuracy, s=8 + 90 * count / count.max(), color=COLORS[number % len(COLORS)])
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("confidence")
    axes[0].set_ylabel("accuracy")
    return _svg(figure)


def learning_curves(rows: Sequence[dict[str, Any]], *, metric: str) -> str:
    """A score against the number of training rows, a panel a backbone, a line a head."""
    backbones = list(dict.fromkeys(row["backbone"] for row in rows))
    figure, axes = _figure(3.4 * len(backbones) + 0.6, 3.6, len(backbones))
    heads = sorted({row["head"] for row in rows})
    for axis, backbone in zip(axes, backbones, strict=True):
        for number, head in enumerate(heads):
            own = [r for r in rows if (r["backbone"], r["head"]) == (backbone, head) and r.get(metric) is not None]
            own.sort(key=lambda row: row["size"])
            style = "-" if number < len(COLORS) else "--"
            axis.plot(
                [row["n_train"] for row in own],
                [row[metric] for row in own],
                style,
                marker=MARKERS[number % len(MARKERS)],
                markersize=3,
                linewidth=1.2,
                color=COLORS[number % len(COLORS)],
                label=head,
            )
        axis.set_title(backbone, fontsize=8)
        axis.set_xlabel("training rows")
    axes[0].set_ylabel(metric.replace("_", " "))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7, frameon=False)
    return _svg(figure)
