"""Charts with a row a value as SVG: intervals, bars, dots; they draw figures and ask nothing.

Every function returns one chart of one width, without ids, the same bytes for the same figures. Values that are NaN or
infinite are left out; a chart for which nothing is left says so. Names come from anywhere and are escaped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report import axes, svg
from benchmarks.report.svg import COLORS, FAINT, GAP, LINE, NOTHING, WIDTH, Scale

ROW = 20


@dataclass(frozen=True)
class Interval:
    """A value with the two ends of its interval (NaN: none); rows of one ``group`` stand under its name.

    ``filled`` makes its mark a disc, ``faint`` sets it behind the others.
    """

    name: str
    value: float
    low: float
    high: float
    filled: bool = True
    group: str = ""
    faint: bool = False


@dataclass(frozen=True)
class Bar:
    """A value as a bar; ``note`` is written after it in place of the bare figure.

    ``whole`` is told on hover in place of a ``name`` that is a short form; by its ``key`` a page knows the bar.
    """

    name: str
    value: float
    note: str = ""
    group: str = ""
    whole: str = ""
    key: str = ""


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
        color = FAINT if row.faint else COLORS[0]
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
        marks.append(svg.hover(f"{item.whole or item.name}: {note}", body, key=item.key))
        y += ROW + (4 if stacked else 0)
    known = ' data-columns="1"' if any(item.key for item in shown) else ""
    return svg.chart(title, axes.below(scale, axis, y) + "".join(marks), height=y + 40, known=known)


def dots(names: Sequence[str], series: Mapping[str, Sequence[float]], *, title: str, axis: str) -> str:
    """A row a name, on it a dot of each series, below each other; the axis goes from 0 to 1.

    Parameters
    ----------
    series
        Of each name its value, a series a colour.
    """
    if not any(math.isfinite(value) for values in series.values() for value in values):
        return svg.sentence(title, NOTHING)
    left = axes.column(names)
    scale = Scale(0.0, 1.0, left + GAP + 4, WIDTH - 8)
    tall, apart = max(ROW + 4.0, 8.0 * len(series) + 8), 8.0
    marks = ""
    for row, name in enumerate(names):
        middle = tall * (row + 0.5)
        marks += svg.label(left, middle + 4, name, room=left, anchor="end")
        marks += svg.rule(scale.start, tall * (row + 1), scale.end, tall * (row + 1)) if row + 1 < len(names) else ""
        for place, (who, values) in enumerate(series.items()):
            if math.isfinite(values[row]):
                y = middle + apart * (place - (len(series) - 1) / 2)
                disc = svg.dot(scale.place(values[row]), y, color=axes.color(place), radius=3.4)
                marks += svg.hover(f"{who}, {name}: {axis} {svg.figure(values[row])}", disc)
    bottom = tall * len(names)
    legend, height = axes.legend(list(series), y=bottom + 40) if len(series) > 1 else ("", bottom + 40)
    return svg.chart(title, axes.below(scale, axis, bottom) + marks + legend, height=height)
