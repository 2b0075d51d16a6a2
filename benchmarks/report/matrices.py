"""A matrix as SVG: a cell a value, deeper where it is better; it draws figures and asks nothing."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import axes, svg
from benchmarks.report.svg import FAINT, GAP, HEAT, LINE, NOTHING, WIDTH

# Rows or columns that can be read.
LARGEST = 40
# How deep a cell is at least, and how much more at most: letters of one colour can be read on all of them.
FAINTEST, DEEPER = 0.04, 0.66


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
    ends: tuple[float, float] | None = None,
    keys: Mapping[tuple[int, int], str] | None = None,
) -> str:
    """A cell a value, deeper where better; figures stand in the cells where they fit, else on hover alone.

    Parameters
    ----------
    values
        ``(len(rows), len(columns))``; NaN cells stay empty. At most 40 rows and columns are drawn.
    form
        The format of a figure, such as ``.2f`` or ``.0%``.
    ends
        The values of the faintest and of the deepest cell; else the smallest and the largest one.
    keys
        By which a page knows the cells, by row and column.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return svg.sentence(title, NOTHING)
    if max(values.shape) > LARGEST:
        said = f"{values.shape[0]} rows and {values.shape[1]} columns are too many to show: at most {LARGEST} of each."
        return svg.sentence(title, said)
    low, high = ends or (float(finite.min()), float(finite.max()))
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
        depth = FAINTEST + DEEPER * (share if high_is_good else 1 - share)
        x, y, text = left + GAP + wide * column, top + tall * row, format(float(value), form)
        cell = svg.box(x, y, wide - 1, tall - 1, color=HEAT, opacity=depth)
        if svg.text_width(text) <= wide - 1:
            cell += svg.label(x + wide / 2, y + tall / 2 + 4, text, anchor="middle")
        body += svg.hover(f"{rows[row]}, {columns[column]}: {text}", cell, key=(keys or {}).get((row, column), ""))
    bottom = top + tall * len(rows)
    body += "".join(
        svg.label(left, top + tall * (place + 0.5) + 4, name, room=left, anchor="end")
        for place, name in enumerate(rows)
    )
    names, deep = axes.column_names(columns, left + GAP, wide, bottom, turned=turned)
    body += names + svg.label(WIDTH, bottom + deep + 12, f"{column_axis} →", room=WIDTH, anchor="end", color=FAINT)
    known = f' data-columns="{len(columns)}"' if keys else ""
    return svg.chart(title, body, height=bottom + deep + 18, known=known)
