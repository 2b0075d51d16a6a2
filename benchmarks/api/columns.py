"""The columns of a table of predictions, checked: values that are there, classes, probabilities."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.probabilities import BELOW_ZERO, FROM_ONE
from featurestore import has_label
from featurestore.errors import InputError, reason

# The start of the name of a column of probabilities; the rest is the class.
PREFIX = "proba_"
_LISTED = 12


def columns_of(table: Any) -> dict[str, NDArray[Any]]:
    """Every column as ``(n,)``; a column of lists as objects."""
    if isinstance(table, Mapping):
        found = {str(name): table[name] for name in table}
    else:
        names = getattr(table, "column_names", None) or getattr(table, "columns", None)
        if names is None:
            raise InputError(
                f"got {type(table).__name__} as the predictions, expected a pandas or Polars frame, an Arrow table, or "
                "lists by name"
            )
        found = {str(name): table[name] for name in names}
    columns = {name: _as_column(name, values) for name, values in found.items()}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise InputError(
            "the predictions have no row"
            if lengths <= {0}
            else f"the columns of the predictions have {', '.join(map(str, sorted(lengths)))} rows, expected as many"
        )
    return columns


def _as_column(name: str, values: Any) -> NDArray[Any]:
    try:
        values = next(
            (getattr(values, how)() for how in ("to_pylist", "to_list", "tolist") if hasattr(values, how)), values
        )
        values = list(values)
        column = np.empty(len(values), object)
        column[:] = values
    except Exception as error:  # the table is somebody else's object
        raise InputError(f"the column {name!r} can't be read ({reason(error)[:200]}): give a list") from error
    return column


def column_of(columns: Mapping[str, NDArray[Any]], *names: str) -> NDArray[Any]:
    """The first of ``names`` that is there, which has a value in each row."""
    name = next((name for name in names if name in columns), None)
    if name is None:
        have = ", ".join(list(columns)[:_LISTED])
        raise InputError(f"the predictions have no column {names[0]!r} (they have: {have})")
    empty = [row for row, value in enumerate(columns[name]) if not _is_value(value)]
    if empty:
        raise InputError(f"the column {name!r} of the predictions has no value in row {empty[0]}: leave such rows out")
    return columns[name]


def _is_value(value: Any) -> bool:
    return type(value).__name__ not in ("NAType", "NaTType") and (
        isinstance(value, list | tuple | np.ndarray) or has_label(value)
    )


def coded(values: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The different values, ascending, and the place of each value among them."""
    try:
        kept, codes = np.unique(values, return_inverse=True)
    except TypeError as error:  # texts and numbers have no order
        raise InputError(f"the column {name!r} mixes texts and numbers: give it one kind of values") from error
    return kept, codes.ravel().astype(np.int64)


def answers_of(columns: Mapping[str, NDArray[Any]]) -> tuple[str, NDArray[Any]]:
    """What was predicted: ``proba`` with a list a line, columns' classes with a row of them, or ``predicted``."""
    if "proba" in columns:
        return "proba", column_of(columns, "proba")
    named = [name for name in columns if name.startswith(PREFIX)]
    if len(named) > 1:
        found = np.empty(len(columns[named[0]]), object)
        found[:] = list(zip(*(column_of(columns, name) for name in named), strict=True))
        return "\0".join(name.removeprefix(PREFIX) for name in named), found
    if "predicted" in columns:
        return "predicted", column_of(columns, "predicted")
    have = ", ".join(list(columns)[:_LISTED])
    raise InputError(
        f"the predictions have neither a column `proba` (a list of probabilities), nor columns {PREFIX}CLASS, nor "
        f"`predicted` (they have: {have})"
    )


def classes_of(y: NDArray[Any], kind: str, answers: NDArray[Any]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """The classes, in the order of the probabilities, and the place of each ``y`` among them."""
    known, codes = coded(y, "y")
    names = tuple(str(name) for name in known)
    if kind == "predicted":
        return names, codes
    if kind != "proba":
        order = tuple(kind.split("\0"))
        absent = [name for name in names if name not in order]
        if absent:
            raise InputError(f"y is {absent[0]!r}, a class without a column: expected {PREFIX}{absent[0]}")
        return order, np.array([order.index(name) for name in names], np.int64)[codes]
    widths = {np.size(one) for one in answers}
    if len(widths) > 1:
        raise InputError(f"the lists in `proba` have {min(widths)} to {max(widths)} values, expected as many in each")
    width = widths.pop()
    if len(names) == width:
        return names, codes
    if all(isinstance(one, int | np.integer) and 0 <= one < width for one in known):
        return tuple(str(place) for place in range(width)), np.array([int(one) for one in known], np.int64)[codes]
    raise InputError(
        f"y has {len(names)} different values and `proba` {width} probabilities: give y as the place in the list, or a "
        f"column {PREFIX}CLASS for each class"
    )


def probabilities_of(answers: NDArray[Any]) -> NDArray[np.float64]:
    try:
        proba = np.array(answers.tolist(), float)
    except (TypeError, ValueError) as error:
        raise InputError(f"the probabilities hold what is no number ({reason(error)[:120]})") from error
    bad = ~np.isfinite(proba).all(axis=1)
    bad |= (proba < -BELOW_ZERO).any(axis=1) | (np.abs(proba.sum(axis=1) - 1) > FROM_ONE)
    if bad.any():
        first = proba[np.flatnonzero(bad)[0]]
        raise InputError(
            f"{int(bad.sum()):,} of {len(bad):,} predictions are no probabilities (the first sums to "
            f"{first.sum():.3g}): expected numbers from 0 to 1 that sum to 1"
        )
    return proba
