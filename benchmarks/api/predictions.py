"""Predictions that were made elsewhere: a table of them is checked and becomes what each row of a comparison got right.

It owns no statistics and no files; whoever has a file reads it into a table first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.api.columns import answers_of, classes_of, coded, column_of, columns_of, probabilities_of
from featurestore.errors import InputError

# The smallest probability of the true class that counts, as in the log loss of the bench.
LEAST = 1e-7


@dataclass(frozen=True)
class RowResults:
    """What one row of a comparison got right.

    Parameters
    ----------
    correct
        ``(repeats, n)`` float64: 1 where it was right, else 0.
    log_loss
        ``(repeats, n)`` float64, of each prediction; None where only the predicted class is known.
    """

    correct: NDArray[np.float64]
    log_loss: NDArray[np.float64] | None


@dataclass(frozen=True)
class PredictedTable:
    """Predictions of several rows for the same ids in the same repeats.

    Parameters
    ----------
    rows
        By name, in the order of the table.
    ids
        ``(n,)``, ascending, as they were given.
    y
        ``(n,)`` int64, places in ``classes``.
    groups
        ``(n,)`` int64, equal for ids of one group; None where the table has no such column.
    folds
        ``(repeats, n)`` int64: the fold in which an id was tested; None where the table has no such column.
    """

    rows: Mapping[str, RowResults]
    ids: NDArray[Any]
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64] | None
    folds: NDArray[np.int64] | None

    @property
    def repeats(self) -> int:
        """How often each id was predicted by each row."""
        return len(next(iter(self.rows.values())).correct)


def from_table(table: Any) -> PredictedTable:
    """A tidy table, one prediction a line, as arrays.

    Parameters
    ----------
    table
        A pandas or Polars frame, an Arrow table, or lists by name. Its columns:

        ``row``, or ``backbone`` and ``head``
            Whose prediction it is.
        ``id`` (or ``ImgId``), ``y``
            What was predicted, and its class.
        ``proba``, or ``proba_CLASS`` for each class, or ``predicted``
            A list of probabilities, in the order of the sorted classes (or of the numbers ``y``); or one column each;
            or the predicted class alone.
        ``repeat``, ``fold``, ``group``
            May be absent: then there is one repeat, and each id is a group of its own.

    Raises
    ------
    InputError
        When a column is missing or holds what can't be used, or the rows don't predict the same ids.

    >>> found = from_table({"row": ["a", "a", "b", "b"], "id": [1, 2, 1, 2], "y": ["cat", "dog"] * 2,
    ...                     "predicted": ["cat", "cat", "cat", "dog"]})
    >>> {name: row.correct.tolist() for name, row in found.rows.items()}
    {'a': [[1.0, 0.0]], 'b': [[1.0, 1.0]]}
    """
    columns = columns_of(table)
    names = _names(columns)
    ids, repeats = column_of(columns, "id", "ImgId"), _optional(columns, "repeat", len(names))
    y = column_of(columns, "y")
    kind, answers = answers_of(columns)
    order, rows, unique, times = _grid(names, repeats, ids)
    y, answers = y[order], answers[order]
    shape = (len(rows), times, len(unique))
    classes, codes = classes_of(y, kind, answers)
    by_id = codes.reshape(-1, len(unique))
    _refuse_changing(by_id, unique, "y", "one class")
    if kind == "predicted":
        right, loss = (np.array([str(one) for one in answers]) == np.array([classes[code] for code in codes])), None
    else:
        proba = probabilities_of(answers)
        right = proba.argmax(axis=1) == codes
        loss = -np.log(proba[np.arange(len(codes)), codes].clip(LEAST, 1.0)).reshape(shape)
    correct = right.astype(float).reshape(shape)
    return PredictedTable(
        {name: RowResults(correct[place], None if loss is None else loss[place]) for place, name in enumerate(rows)},
        ids=unique,
        y=by_id[0],
        classes=classes,
        groups=_groups(columns, order, unique),
        folds=_folds(columns, order, shape),
    )


def _optional(columns: Mapping[str, NDArray[Any]], name: str, n: int) -> NDArray[Any]:
    return column_of(columns, name) if name in columns else np.zeros(n, object)


def _names(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if "row" in columns or not {"backbone", "head"} <= set(columns):
        return np.array([str(name) for name in column_of(columns, "row")], object)
    pairs = zip(column_of(columns, "backbone"), column_of(columns, "head"), strict=True)
    return np.array([f"{backbone}/{head}" for backbone, head in pairs], object)


def _grid(
    names: NDArray[Any], repeats: NDArray[Any], ids: NDArray[Any]
) -> tuple[NDArray[np.int64], list[str], NDArray[Any], int]:
    """The order of the lines by row, repeat and id; the rows, in the order of the table, the ids, how many repeats."""
    rows = list(dict.fromkeys(names.tolist()))
    row = np.array([{name: place for place, name in enumerate(rows)}[name] for name in names], np.int64)
    times, repeat = coded(repeats, "repeat")
    unique, place = coded(ids, "id")
    cell = (row * len(times) + repeat) * len(unique) + place
    counts = np.bincount(cell, minlength=len(rows) * len(times) * len(unique))
    if (counts != 1).any():
        bad = int(np.flatnonzero(counts != 1)[0])
        one, two, three = bad // (len(times) * len(unique)), bad // len(unique) % len(times), bad % len(unique)
        where = f"{rows[one]!r} predicts the id {str(unique[three])!r} {counts[bad]} times in repeat {times[two]}"
        hint = (
            "number them by a column `repeat`"
            if counts[bad] > 1
            else "each row must predict the same ids in each repeat"
        )
        raise InputError(f"{where}, expected once: {hint}")
    return np.argsort(cell, kind="stable"), rows, unique, len(times)


def _refuse_changing(values: NDArray[np.int64], ids: NDArray[Any], name: str, expected: str) -> None:
    """Refuse an id with different values in different lines."""
    changing = np.flatnonzero((values != values[0]).any(axis=0))
    if len(changing):
        raise InputError(f"{name} of the id {str(ids[changing[0]])!r} differs between lines, expected {expected} an id")


def _groups(
    columns: Mapping[str, NDArray[Any]], order: NDArray[np.int64], ids: NDArray[Any]
) -> NDArray[np.int64] | None:
    if "group" not in columns:
        return None
    codes = coded(column_of(columns, "group"), "group")[1][order].reshape(-1, len(ids))
    _refuse_changing(codes, ids, "the group", "one group")
    return codes[0]


def _folds(
    columns: Mapping[str, NDArray[Any]], order: NDArray[np.int64], shape: Sequence[int]
) -> NDArray[np.int64] | None:
    """The fold of each id in each repeat; rows that were split differently have no folds in common: None."""
    if "fold" not in columns:
        return None
    codes = coded(column_of(columns, "fold"), "fold")[1][order].reshape(tuple(shape))
    return codes[0] if (codes == codes[0]).all() else None
