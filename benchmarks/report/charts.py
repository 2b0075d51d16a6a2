"""Charts as SVG for report and notebook: intervals, bars, curves, a matrix, points; they draw figures and ask nothing.

Every function returns one chart of one width, without ids, the same bytes for the same figures. Values that are NaN or
infinite are left out; a chart for which nothing is left says so. Names come from anywhere and are escaped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import axes, svg
from benchmarks.report.svg import COLORS, FAINT, GAP, LINE, WIDTH, Scale

NOTHING = "There is no value to show."
# Rows or columns of a matrix that can be read, points of a line, points of a line that are drawn as such.
LARGEST, FINEST, DOTTED = 40, 200, 40
ROW = 20


@dataclass(frozen=True)
class Interval:
    """A value with the two ends of its interval (NaN: none); rows of one ``group`` stand under its name."""

    name: str
    value: float
    low: float
    high: float
    filled: bool = True
    group: str = ""


@dataclass(frozen=True)
class Bar:
    """A value as a bar; ``note`` is written after it in place of the bare figure.

    ``whole`` is told on hover in place of a ``name`` that is a short form.
    """

    name: str
    value: float
    note: str = ""
    group: str = ""
    whole: str = ""


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


def intervals(rows: Sequence[Interval], *, title: str, axis: str, line: float | None = None) -> str:
    """A row a value: its interval as a line, itself as a disc (ring where not ``filled``), and as a figure.

    Parameters
    ----------
    line
        A value that is marked from top to bottom, such as 0 of differences.
    """
    shown = [rows[k] for k in axes.by_group([row.group for row in rows]) if math.isfinite(rows[k].value)]
    if not shown:
        return svg.sentence(title, NOTHING)
    ends = [v for row in shown for v in (row.value, row.low, row.high) if math.isfinite(v)]
    ends += [line] if line is not None and math.isfinite(line) else []
    figures = [svg.figure(row.value) for row in shown]
    left = axes.column([row.name for row in shown])
    right = WIDTH - max(map(svg.text_width, figures)) - GAP
    scale = svg.spread(ends, start=left + GAP, end=right)
    marks, y = [], 0.0
    for row, shown_value, heading in zip(shown, figures, axes.headings([row.group for row in shown]), strict=True):
        if heading is not None:
            y += ROW
            marks.append(svg.label(0, y - 5, heading, room=WIDTH, color=FAINT))
        middle, tip = y + ROW / 2, f"{row.name}: {axis} {shown_value}"
        body = svg.label(left, middle + 4, row.name, room=left, anchor="end")
        color = COLORS[0]
        if math.isfinite(row.low) and math.isfinite(row.high):
            tip += f", {svg.figure(row.low)} to {svg.figure(row.high)}"
            body += svg.rule(scale.place(row.low), middle, scale.place(row.high), middle, color=color, width=1.8)
        body += svg.dot(scale.place(row.value), middle, color=color, filled=row.filled)
        body += svg.label(WIDTH, middle + 4, shown_value, anchor="end")
        marks.append(svg.hover(tip, body))
        y += ROW
    frame = axes.below(scale, axis, y)
    if line is not None and math.isfinite(line):
        at = scale.place(line)
        frame += svg.hover(svg.figure(line), svg.rule(at, 0, at, y, color=COLORS[1], width=1.4, dash="4 3"))
    return svg.chart(title, frame + "".join(marks), height=y + 40)


def bars(items: Sequence[Bar], *, title: str, axis: str, most: float | None = None) -> str:
    """A row a value: a bar from 0; long names stand above their bars.

    Parameters
    ----------
    most
        The right end of the axis where it is known, such as 1 of shares; else the largest value.
    """
    shown = [items[k] for k in axes.by_group([item.group for item in items]) if math.isfinite(items[k].value)]
    if not shown:
        return svg.sentence(title, NOTHING)
    notes = [item.note or svg.figure(item.value) for item in shown]
    widest = max(svg.text_width(item.name) for item in shown)
    stacked = widest > 0.42 * WIDTH
    left = 0.0 if stacked else widest
    right = WIDTH - min(max(map(svg.text_width, notes)), 0.4 * WIDTH) - GAP
    ends = [0.0, *(item.value for item in shown), *([] if most is None else [most])]
    scale = Scale(min(ends), max(ends) if max(ends) > min(ends) else 1.0, left + (0 if stacked else GAP), right)
    marks, y, zero = [], 0.0, scale.place(0)
    for item, note, heading in zip(shown, notes, axes.headings([item.group for item in shown]), strict=True):
        if heading is not None:
            y += ROW
            marks.append(svg.label(0, y - 5, heading, room=WIDTH, color=FAINT))
        body = svg.label(0, y + 13, item.name, room=WIDTH) if stacked else ""
        y += LINE if stacked else 0
        body += "" if stacked else svg.label(left, y + 14, item.name, anchor="end")
        end = scale.place(item.value)
        body += svg.box(min(zero, end), y + 4, abs(end - zero), ROW - 8, color=COLORS[0])
        body += svg.label(WIDTH, y + 14, note, room=0.4 * WIDTH, anchor="end")
        marks.append(svg.hover(f"{item.whole or item.name}: {note}", body))
        y += ROW + (4 if stacked else 0)
    return svg.chart(title, axes.below(scale, axis, y) + "".join(marks), height=y + 40)


def curves(series: Sequence[Series], *, title: str, x_axis: str, y_axis: str, diagonal: bool = False) -> str:
    """A line a series with its band, names below; of more than 200 points a line has 200 evenly chosen ones.

    Parameters
    ----------
    diagonal
        Both axes go from 0 to 1 at least, and a dashed line marks where they are equal.
    """
    shown = [(one.name, points) for one in series if len(points := _thinned(one))]
    if not shown:
        return svg.sentence(title, NOTHING)
    everything = np.concatenate([points for _, points in shown])
    xs, ys = everything[:, 0], everything[:, 1:]
    ends = ([0.0, 1.0] if diagonal else [], [0.0, 1.0] if diagonal else [])
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


def points(items: Sequence[Point], *, title: str, x_axis: str, y_axis: str, log_x: bool = False) -> str:
    """Named points; a name that has no room beside its point without covering another is told on hover alone.

    Parameters
    ----------
    log_x
        The horizontal axis is logarithmic; points at 0 or below are left out.
    """
    shown = [one for one in items if math.isfinite(one.x) and math.isfinite(one.y) and not (log_x and one.x <= 0)]
    if not shown:
        return svg.sentence(title, NOTHING)
    groups = list(dict.fromkeys(one.group for one in shown))
    down = svg.spread([one.y for one in shown], start=250, end=LINE + 14)
    across = svg.spread([one.x for one in shown], start=axes.left_of(down), end=WIDTH - 6, log=log_x)
    places = [(across.place(one.x), down.place(one.y)) for one in shown]
    body = axes.frame(across, down, x_axis, y_axis)
    named = axes.names_beside(list(zip(places, [one.name for one in shown], strict=True)), across=across, down=down)
    for one, (x, y), name in zip(shown, places, named, strict=True):
        tip = f"{one.name}: {x_axis} {one.x:.4g}, {y_axis} {svg.figure(one.y)}"
        place = groups.index(one.group)
        # A second round of colours has rings.
        disc = svg.dot(x, y, color=axes.color(place), filled=place < len(COLORS))
        body += svg.hover(tip if not one.group else f"{tip} ({one.group})", name + disc)
    legend, height = axes.legend(groups, y=298, lines=False) if len(groups) > 1 else ("", 292)
    return svg.chart(title, body + legend, height=height)


def matrix(
    values: NDArray[np.floating],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    form: str,
    row_axis: str,
    column_axis: str,
    high_is_good: bool = True,
) -> str:
    """A cell a value, deeper where better; figures stand in the cells where they fit, else on hover alone.

    Parameters
    ----------
    values
        ``(len(rows), len(columns))``; NaN cells stay empty. At most 40 rows and columns are drawn.
    form
        The format of a figure, such as ``.2f`` or ``.0%``.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return svg.sentence(title, NOTHING)
    if max(values.shape) > LARGEST:
        said = f"{values.shape[0]} rows and {values.shape[1]} columns are too many to show: at most {LARGEST} of each."
        return svg.sentence(title, said)
    low, high = float(finite.min()), float(finite.max())
    longest = max(map(svg.text_width, columns))
    left = max(axes.column(rows), 40.0)
    wide = (WIDTH - left - GAP) / len(columns)
    turned = longest > wide - 4
    if turned:
        left = max(left, min(longest, 100.0) * 0.71 - wide / 2)
        wide = (WIDTH - left - GAP) / len(columns)
    top, tall = LINE + 4, 24.0
    body = svg.label(0, 12, f"{row_axis} ↓", room=WIDTH, color=FAINT)
    for (row, column), value in np.ndenumerate(values):
        if not math.isfinite(value):
            continue
        share = 0.5 if high == low else (value - low) / (high - low)
        depth = 0.04 + 0.96 * (share if high_is_good else 1 - share)
        x, y, text = left + GAP + wide * column, top + tall * row, format(float(value), form)
        cell = svg.box(x, y, wide - 1, tall - 1, color=COLORS[0], opacity=depth)
        if svg.text_width(text) <= wide - 1:
            over = "#fff" if depth > 0.68 else svg.INK
            cell += svg.label(x + wide / 2, y + tall / 2 + 4, text, anchor="middle", color=over)
        body += svg.hover(f"{rows[row]}, {columns[column]}: {text}", cell)
    bottom = top + tall * len(rows)
    body += "".join(
        svg.label(left, top + tall * (place + 0.5) + 4, name, room=left, anchor="end")
        for place, name in enumerate(rows)
    )
    names, deep = axes.column_names(columns, left + GAP, wide, bottom, turned=turned)
    body += names + svg.label(WIDTH, bottom + deep + 12, f"{column_axis} →", room=WIDTH, anchor="end", color=FAINT)
    return svg.chart(title, body, height=bottom + deep + 18)


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
