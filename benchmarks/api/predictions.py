"""Predictions that were made elsewhere: a table of them is checked and becomes what each row of a comparison got right.

It owns no statistics and no files; whoever has a file reads it into a table first.
"""

from collections.abc import Mapping
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
        ``(repeats, n)`` float64: 1 where it was right, else 0; the mean over seeds. NaN in repeats that it lacks.
    log_loss
        ``(repeats, n)`` float64, likewise; None where only the predicted class is known.
    """

    correct: NDArray[np.float64]
    log_loss: NDArray[np.float64] | None


@dataclass(frozen=True)
class PredictedTable:
    """Predictions of several rows for the same ids.

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
        ``(repeats, n)`` int64: the fold in which an id was tested; None where the table has no such column, or rows
        were split differently.
    """

    rows: Mapping[str, RowResults]
    ids: NDArray[Any]
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64] | None
    folds: NDArray[np.int64] | None

    @property
    def repeats(self) -> int:
        """How often the ids were predicted, at most."""
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
        ``repeat``, ``fold``, ``seed``, ``group``
            May be absent: then there is one repeat and one seed, and each id is a group of its own. A row may lack
            whole repeats; seeds are averaged.
        ``size``
            The share of the training part that was learned from, where there are several: only lines of 1 count.

    Raises
    ------
    InputError
        When a column is missing or holds what can't be used, or the rows don't predict the same ids.

    >>> found = from_table({"row": ["a", "a", "b", "b"], "id": [1, 2, 1, 2], "y": ["cat", "dog"] * 2,
    ...                     "predicted": ["cat", "cat", "cat", "dog"]})
    >>> {name: row.correct.tolist() for name, row in found.rows.items()}
    {'a': [[1.0, 0.0]], 'b': [[1.0, 1.0]]}
    """
    columns = _of_whole_training(columns_of(table))
    names = _names(columns)
    ids, y = column_of(columns, "id", "ImgId"), column_of(columns, "y")
    kind, answers = answers_of(columns)
    lines = _lines(names, _optional(columns, "repeat", len(names)), _optional(columns, "seed", len(names)), ids)
    classes, codes = classes_of(y, kind, answers)
    by_id = lines.by_id(codes, "y", "one class")
    if kind == "predicted":
        right, loss = (np.array([str(one) for one in answers]) == np.array([classes[code] for code in codes])), None
    else:
        proba = probabilities_of(answers)
        right = proba.argmax(axis=1) == codes
        loss = lines.means(-np.log(proba[np.arange(len(codes)), codes].clip(LEAST, 1.0)))
    correct = lines.means(right.astype(float))
    return PredictedTable(
        {
            name: RowResults(correct[place], None if loss is None else loss[place])
            for place, name in enumerate(lines.rows)
        },
        ids=lines.ids,
        y=by_id,
        classes=classes,
        groups=_groups(columns, lines),
        folds=_folds(columns, lines),
    )


@dataclass(frozen=True)
class _Lines:
    """The place of each line of the table among ``rows``, repeats and ``ids``, ``(lines,)`` int64 each."""

    rows: list[str]
    ids: NDArray[Any]
    repeats: int
    row: NDArray[np.int64]
    repeat: NDArray[np.int64]
    place: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many rows, repeats and ids there are."""
        return len(self.rows), self.repeats, len(self.ids)

    @property
    def cell(self) -> NDArray[np.int64]:
        """``(lines,)``: a number for each row, repeat and id."""
        return (self.row * self.repeats + self.repeat) * len(self.ids) + self.place

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The mean of ``values`` ``(lines,)`` over seeds by row, repeat and id, NaN where there is no line."""
        sums, counts = self.sums(values), self.sums(None)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def sums(self, values: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """The same as sums; how many lines there are when None."""
        return np.bincount(self.cell, values, int(np.prod(self.shape))).reshape(self.shape).astype(float)

    def by_id(self, codes: NDArray[np.int64], name: str, expected: str) -> NDArray[np.int64]:
        """``codes`` ``(lines,)``, which are equal in all lines of an id, as ``(n,)``."""
        found = np.empty(len(self.ids), np.int64)
        found[self.place] = codes
        changing = np.flatnonzero(found[self.place] != codes)
        if len(changing):
            one = str(self.ids[self.place[changing].min()])
            raise InputError(f"{name} of the id {one!r} differs between lines, expected {expected} an id")
        return found


def _of_whole_training(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The lines of heads that learned from the whole training part; refuse those of several labels."""
    if any(isinstance(labels, list | tuple | np.ndarray) for labels in columns.get("labels", ())):
        raise InputError(
            "the predictions are of several labels a row (they have a column `labels`), expected one class"
        )
    if "size" not in columns:
        return columns
    whole = np.array([size == 1 for size in column_of(columns, "size")], bool)
    if not whole.any():
        raise InputError("no line of the predictions has the `size` 1, the whole training part: leave that column out")
    return {name: values[whole] for name, values in columns.items()}


def _optional(columns: Mapping[str, NDArray[Any]], name: str, n: int) -> NDArray[Any]:
    return column_of(columns, name) if name in columns else np.zeros(n, object)


def _names(columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if "row" in columns or not {"backbone", "head"} <= set(columns):
        return np.array([str(name) for name in column_of(columns, "row")], object)
    pairs = zip(column_of(columns, "backbone"), column_of(columns, "head"), strict=True)
    return np.array([f"{backbone}/{head}" for backbone, head in pairs], object)


def _lines(names: NDArray[Any], repeats: NDArray[Any], seeds: NDArray[Any], ids: NDArray[Any]) -> _Lines:
    """Where each line belongs; refuse an id that a row predicts twice, or not with the others of a repeat."""
    rows = {name: place for place, name in enumerate(dict.fromkeys(names.tolist()))}
    known, repeat = coded(repeats, "repeat")
    unique, place = coded(ids, "id")
    row = np.array([rows[name] for name in names], np.int64)
    lines = _Lines(list(rows), unique, len(known), row, repeat, place)
    cell, (_, seed) = lines.cell, coded(seeds, "seed")
    twice, times = np.unique(cell * (int(seed.max()) + 1) + seed, return_counts=True)
    counts = lines.sums(None)
    # Every seed of a row predicts what its other seeds do.
    expected = np.broadcast_to(counts.max(axis=2, keepdims=True), counts.shape)
    bad, hint = np.flatnonzero(counts != expected), "each row must predict the same ids in each repeat"
    if (times > 1).any():
        bad, hint = twice[times > 1] // (int(seed.max()) + 1), "number them by a column `repeat`"
        expected = np.ones_like(counts)
    if len(bad):
        where = np.unravel_index(int(bad[0]), lines.shape)
        wanted = int(expected[where])
        raise InputError(
            f"{lines.rows[where[0]]!r} predicts the id {str(unique[where[2]])!r} {int(counts[where])} times in repeat "
            f"{known[where[1]]}, expected {'once' if wanted == 1 else f'{wanted} times'}: {hint}"
        )
    return lines


def _groups(columns: Mapping[str, NDArray[Any]], lines: _Lines) -> NDArray[np.int64] | None:
    if "group" not in columns:
        return None
    return lines.by_id(coded(column_of(columns, "group"), "group")[1], "the group", "one group")


def _folds(columns: Mapping[str, NDArray[Any]], lines: _Lines) -> NDArray[np.int64] | None:
    """The fold of each id in each repeat; rows that were split differently have no folds in common: None."""
    if "fold" not in columns:
        return None
    codes = coded(column_of(columns, "fold"), "fold")[1]
    found = np.empty((lines.repeats, len(lines.ids)), np.int64)
    found[lines.repeat, lines.place] = codes
    return found if (found[lines.repeat, lines.place] == codes).all() else None
