"""Charts of a plane as SVG: lines with bands, named points, clouds of points; they draw figures and ask nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import axes, svg
from benchmarks.report.svg import COLORS, FAINT, LINE, NOTHING, WIDTH, Scale

# Points of a line, points of a line that are drawn as such.
FINEST, DOTTED = 200, 40
# Points that have a name.
NAMED = 60
# The room of a cloud.
TALLEST = 300


@dataclass(frozen=True)
class Series:
    """A line through points ``(x, y)`` with a band from ``low`` to ``high`` where there is one."""

    name: str
    x: Sequence[float] | NDArray[np.floating]
    y: Sequence[float] | NDArray[np.floating]
    low: Sequence[float] | NDArray[np.floating] | None = None
    high: Sequence[float] | NDArray[np.floating] | None = None


@dataclass(frozen=True)
class Point:
    """A named point; points of one ``group`` have one colour."""

    name: str
    x: float
    y: float
    group: str = ""


@dataclass(frozen=True)
class Layer:
    """Points of one colour in a cloud: ``(n,)`` each; ``color`` is one of SVG, with the variables of the page."""

    name: str
    x: NDArray[np.floating]
    y: NDArray[np.floating]
    color: str


def curves(
    series: Sequence[Series],
    *,
    title: str,
    x_axis: str,
    y_axis: str,
    diagonal: bool = False,
    y_ends: Sequence[float] = (),
) -> str:
    """A line a series with its band, names below; of more than 200 points a line has 200 evenly chosen ones.

    Parameters
    ----------
    diagonal
        Both axes go from 0 to 1 at least, and a dashed line marks where they are equal.
    y_ends
        What the vertical axis shows besides the series: charts with the same ends can be compared.
    """
    shown = [(one.name, points) for one in series if len(points := _thinned(one))]
    if not shown:
        return svg.sentence(title, NOTHING)
    everything = np.concatenate([points for _, points in shown])
    xs, ys = everything[:, 0], everything[:, 1:]
    ends = ([0.0, 1.0] if diagonal else [], [0.0, 1.0] if diagonal else list(y_ends))
    margin = 0.03 if diagonal else 0.06
    down = svg.spread([*ends[1], *ys[np.isfinite(ys)].tolist()], start=230, end=LINE + 8, margin=margin)
    left = axes.left_of(down)
    across = svg.spread([*ends[0], *xs.tolist()], start=left, end=WIDTH - 6, margin=margin)
    body = axes.frame(across, down, x_axis, y_axis)
    if diagonal:
        start, end = ((across.place(v), down.place(v)) for v in (0.0, 1.0))
        body += svg.rule(*start, *end, color=FAINT, width=1.2, dash="4 3")
    bands = [_band(points, across, down, color=axes.color(place)) for place, (_, points) in enumerate(shown)]
    lines = [_curve(name, points, across, down, place, (x_axis, y_axis)) for place, (name, points) in enumerate(shown)]
    legend, height = axes.legend([name for name, _ in shown], y=278, lines=True) if len(shown) > 1 else ("", 272)
    return svg.chart(title, body + "".join(bands) + "".join(lines) + legend, height=height)


def points(
    items: Sequence[Point], *, title: str, x_axis: str, y_axis: str, log_x: bool = False, named: int = NAMED
) -> str:
    """Named points, the most important first; a name without room beside its point is told on hover alone.

    Parameters
    ----------
    log_x
        The horizontal axis is logarithmic; points at 0 or below are left out.
    named
        How many of them have a name at most, the first ones.
    """
    shown = [one for one in items if math.isfinite(one.x) and math.isfinite(one.y) and not (log_x and one.x <= 0)]
    if not shown:
        return svg.sentence(title, NOTHING)
    groups = list(dict.fromkeys(one.group for one in shown))
    down = svg.spread([one.y for one in shown], start=250, end=LINE + 14)
    across = svg.spread([one.x for one in shown], start=axes.left_of(down), end=WIDTH - 6, log=log_x)
    places = [(across.place(one.x), down.place(one.y)) for one in shown]
    body = axes.frame(across, down, x_axis, y_axis)
    pairs = list(zip(places, [one.name for one in shown], strict=True))
    beside = axes.names_beside(pairs, across=across, down=down, most=named)
    for one, (x, y), name in zip(shown, places, beside, strict=True):
        tip = f"{one.name}: {x_axis} {one.x:.4g}, {y_axis} {svg.figure(one.y)}"
        place = groups.index(one.group)
        # A second round of colours has rings.
        disc = svg.dot(x, y, color=axes.color(place), filled=place < len(COLORS))
        body += svg.hover(tip if not one.group else f"{tip} ({one.group})", name + disc)
    legend, height = axes.legend(groups, y=298) if len(groups) > 1 else ("", 292)
    return svg.chart(title, body + legend, height=height)


def cloud(layers: Sequence[Layer], *, title: str, x_axis: str, y_axis: str, key: str = "") -> str:
    """All points of the layers, later ones on top, on one scale in both directions and without ticks.

    Parameters
    ----------
    key
        By which a page knows the chart: it can tell more of a point by its place in its layer.
    """
    shown = [layer for layer in layers if len(layer.x)]
    if not shown:
        return svg.sentence(title, NOTHING)
    everything = np.concatenate([np.column_stack((layer.x, layer.y)) for layer in shown]).astype(float)
    low, high = everything.min(axis=0), everything.max(axis=0)
    wide, top = WIDTH - 8.0, LINE + 4.0
    unit = min(wide / max(high[0] - low[0], 1e-12), (TALLEST - 8.0) / max(high[1] - low[1], 1e-12))
    tall = max(unit * float(high[1] - low[1]), 60.0) + 8.0
    middle = (low + high) / 2
    body = svg.label(0, 12, f"{y_axis} ↑", room=WIDTH, color=FAINT)
    body += svg.edge(0, top, WIDTH, tall)
    for layer in shown:
        x = WIDTH / 2 + unit * (np.asarray(layer.x, float) - middle[0])
        y = top + tall / 2 - unit * (np.asarray(layer.y, float) - middle[1])
        count = f"{len(x):,} {'image' if len(x) == 1 else 'images'}"
        body += svg.hover(
            f"{layer.name}: {count}", svg.specks(x, y, color=layer.color, radius=_radius(len(everything)))
        )
    bottom = top + tall
    body += svg.label(WIDTH, bottom + 15, f"{x_axis} →", room=WIDTH, anchor="end", color=FAINT)
    legend, height = axes.legend([layer.name for layer in shown], y=bottom + 20, colors=[one.color for one in shown])
    return svg.chart(title, body + legend, height=height, known=f' data-map="{svg.safe(key)}"' if key else "")


def _radius(count: int) -> float:
    return 2.6 if count <= 300 else 2.0 if count <= 1000 else 1.5


def _thinned(series: Series) -> NDArray[np.float64]:
    """``(n, 4)``: x, y, low, high of the finite points, at most 200 of them; NaN where there is no band."""
    ends = [np.full(len(series.y), np.nan) if one is None else one for one in (series.low, series.high)]
    found = np.column_stack([np.asarray(one, float) for one in (series.x, series.y, *ends)])
    found = found[np.isfinite(found[:, :2]).all(axis=1)]
    found[~np.isfinite(found[:, 2:]).all(axis=1), 2:] = np.nan
    return found[np.linspace(0, len(found) - 1, FINEST).round().astype(int)] if len(found) > FINEST else found


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{svg.number(x)},{svg.number(y)}" for x, y in places)


def _band(found: NDArray[np.float64], across: Scale, down: Scale, *, color: str) -> str:
    whole = found[np.isfinite(found[:, 2])]
    if len(whole) < 2:
        return ""
    there = [(across.place(x), down.place(high)) for x, _, _, high in whole]
    back = [(across.place(x), down.place(low)) for x, _, low, _ in whole[::-1]]
    return f'<polygon points="{_path(there + back)}" fill-opacity="0.16" style="fill:{color}"/>'


def _curve(
    name: str, found: NDArray[np.float64], across: Scale, down: Scale, place: int, axis_names: tuple[str, str]
) -> str:
    color, dash = axes.color(place), axes.dash(place)
    places = [(across.place(x), down.place(y)) for x, y in found[:, :2]]
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    line = f'<polyline points="{_path(places)}" fill="none" stroke-width="1.8"{dashed} style="stroke:{color}"/>'
    marks = svg.hover(name, line)
    if len(places) > DOTTED:
        return marks
    for (x, y), (at, value, low, high) in zip(places, found, strict=True):
        tip = f"{name}: {axis_names[0]} {at:.4g}, {axis_names[1]} {svg.figure(value)}"
        tip += f", {svg.figure(low)} to {svg.figure(high)}" if math.isfinite(low) else ""
        marks += svg.hover(tip, svg.dot(x, y, color=color, radius=2.6))
    return marks
