"""A matrix as SVG: a cell a value, deeper where it is better; it draws figures and asks nothing."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import axes, svg
from benchmarks.report.svg import FAINT, GAP, HEAT, LINE, NOTHING, WIDTH

# Rows or columns that can be read.
LARGEST = 40
# Up to how many rows they are higher, so that a finger finds a cell.
FEW = 12
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
    between: str = ", ",
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
    between
        What stands between the names of row and column on hover.
    """
    if why := _not_shown(values):
        return svg.sentence(title, why)
    finite = values[np.isfinite(values)]
    low, high = ends or (float(finite.min()), float(finite.max()))
    longest = max(map(svg.text_width, columns))
    left = max(axes.column(rows), 40.0)
    wide = (WIDTH - left - GAP) / len(columns)
    turned = longest > wide - 4
    if turned:
        left = max(left, min(longest, 100.0) * 0.71 - wide / 2)
        wide = (WIDTH - left - GAP) / len(columns)
    top, tall = LINE + 4, 30.0 if len(rows) <= FEW else 24.0
    body = svg.label(0, 12, f"{row_axis} ↓", room=WIDTH, color=FAINT)
    for place, value in np.ndenumerate(values):
        if not math.isfinite(value):
            continue
        row, column = place
        share = 0.5 if high == low else (value - low) / (high - low)
        depth = FAINTEST + DEEPER * (share if high_is_good else 1 - share)
        text = format(float(value), form)
        cell = _cell(left + GAP + wide * column, top + tall * row, (wide, tall), text, depth=depth)
        body += svg.hover(f"{rows[row]}{between}{columns[column]}: {text}", cell, key=(keys or {}).get(place, ""))
    bottom = top + tall * len(rows)
    body += "".join(
        svg.label(left, top + tall * (place + 0.5) + 4, name, room=left, anchor="end")
        for place, name in enumerate(rows)
    )
    names, deep = axes.column_names(columns, left + GAP, wide, bottom, turned=turned)
    body += names + svg.label(WIDTH, bottom + deep + 12, f"{column_axis} →", room=WIDTH, anchor="end", color=FAINT)
    known = f' data-columns="{len(columns)}"' if keys else ""
    return svg.chart(title, body, height=bottom + deep + 18, known=known)


def _not_shown(values: NDArray[np.floating]) -> str:
    """Why a matrix can't be shown; empty where it can."""
    if not np.isfinite(values).any():
        return NOTHING
    if max(values.shape) > LARGEST:
        return f"{values.shape[0]} rows and {values.shape[1]} columns are too many to show: at most {LARGEST} of each."
    return ""


def _cell(x: float, y: float, size: tuple[float, float], text: str, *, depth: float) -> str:
    """A box with its figure, where that fits."""
    wide, tall = size
    body = svg.box(x, y, wide - 1, tall - 1, color=HEAT, opacity=depth)
    if svg.text_width(text) > wide - 1:
        return body
    return body + svg.label(x + wide / 2, y + tall / 2 + 4, text, anchor="middle")
