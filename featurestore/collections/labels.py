"""Finds the label column of a table, or makes it of several columns; `label_cells` cleans what is in it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.collections.column_types import storable
from featurestore.collections.label_cells import clean, is_label_type, labels_of
from featurestore.collections.tables import free_name
from featurestore.errors import InputError
from featurestore.storage.names import nearest

# Columns that are labels by their names, the most likely first, in lower case.
LABEL_NAMES = (
    *("label", "labels", "class", "classes", "class_name", "category", "categories", "target", "genre", "genres"),
    *("species", "breed", "diagnosis", "tag", "tags", "y"),
)
# A column that says which rows train; never a label.
SPLIT = "split"
MAX_CLASSES = 1000
# The column that is made of several.
MADE = "labels"
WILDCARDS = "*?"


@dataclass(frozen=True)
class FoundLabel:
    """The label of a table.

    Parameters
    ----------
    column
        The name of the label column, None if there is none.
    rows
        The table with this column cleaned, or added: null where there is no label, a list where there can be several.
    notes
        One sentence for each thing that was guessed or changed.
    no_label_words
        How often each word, such as `N/A`, was taken as no label.
    """

    column: str | None
    rows: pa.Table
    notes: tuple[str, ...]
    no_label_words: Mapping[str, int]


def find_label(
    rows: pa.Table, asked: Sequence[str], *, separator: str | None = None, exclude: Sequence[str] = ()
) -> FoundLabel:
    """Find the label column.

    Parameters
    ----------
    rows
        A table with distinct column names, as `read_table` returns it.
    asked
        Names of columns, or patterns with ``*`` and ``?``; empty to guess. Of several, or of a pattern, the column
        ``labels`` is made: the names of those that are 1 if all hold only 0 and 1, else their values.
    separator
        What separates labels in a cell; None to guess, empty if nothing does.
    exclude
        Columns that are neither guessed nor matched by a pattern, such as the key.

    Raises
    ------
    InputError
        When there is no such column, or its values can't be labels.
    """
    left = {name.lower() for name in exclude}
    if not asked:
        guessed = _guess(rows, left)
        if guessed is None:
            return FoundLabel(None, rows, (), {})
        note = f"the label is the column {guessed!r} (guessed): name another with --label"
        return _of_one(rows, guessed, separator, (note,))
    columns, several = _resolve(rows.column_names, asked, left)
    if len(columns) == 1 and not several:
        return _of_one(rows, next(iter(columns)), separator, ())
    return _of_several(rows, columns, separator)


def _guess(rows: pa.Table, left: set[str]) -> str | None:
    """The column with the likeliest name, else the only one whose values look like classes."""
    usable = {
        name.lower(): name
        for name in rows.column_names
        if name.lower() not in left | {SPLIT} and is_label_type(storable(rows[name].slice(0, 0)).type)
    }
    for name in LABEL_NAMES:
        if name in usable and rows[usable[name]].null_count < len(rows):
            return usable[name]
    found = [name for name in usable.values() if _looks_like_classes(storable(rows[name]))]
    return found[0] if len(found) == 1 else None


def _looks_like_classes(column: pa.ChunkedArray) -> bool:
    """Whether it has 2 to `MAX_CLASSES` values, each twice on average, and no fractions."""
    if pa.types.is_nested(column.type):
        column = pc.list_flatten(column)
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
        if not pc.all(pc.equal(pc.floor(column), column)).as_py():
            return False
    distinct = pc.count_distinct(column).as_py()
    return 2 <= distinct <= MAX_CLASSES and len(column) - column.null_count >= 2 * distinct


def _resolve(names: Sequence[str], asked: Sequence[str], left: set[str]) -> tuple[dict[str, str], bool]:
    """The columns, each with the name of its label (without what comes before the ``*`` of a pattern).

    Also whether a pattern was among ``asked``. A column is found without regard to case, as in SQL.
    """
    known = {name.lower(): name for name in names}
    columns: dict[str, str] = {}
    several = False
    for one in asked:
        if one in names or one.lower() in known:
            name = one if one in names else known[one.lower()]
            columns.setdefault(name, name)
            continue
        prefix = one[: min((one.find(c) for c in WILDCARDS if c in one), default=0)]
        matching = [name for lower, name in known.items() if lower not in left and _matches(lower, one.lower())]
        if not matching:
            what = f"no column that matches {one!r}" if any(c in one for c in WILDCARDS) else f"no column {one!r}"
            raise InputError(f"the table has {what} ({nearest(one, names)}): name a label column with --label")
        several = True
        for name in matching:
            columns.setdefault(name, name[len(prefix) :] or name)
    return columns, several


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern with ``*`` and ``?`` matches; brackets stand for themselves."""
    return any(c in pattern for c in WILDCARDS) and fnmatchcase(name, pattern.replace("[", "[[]"))


def _of_one(rows: pa.Table, name: str, separator: str | None, notes: tuple[str, ...]) -> FoundLabel:
    found = clean(name, rows[name], separator=separator)
    place = rows.column_names.index(name)
    return FoundLabel(name, rows.set_column(place, name, found.column), notes + found.notes, found.words)


def _of_several(rows: pa.Table, columns: Mapping[str, str], separator: str | None) -> FoundLabel:
    """The rows with one more column, a list of text: the names or the values of ``columns``."""
    made = free_name(MADE, rows.column_names)
    listed = ", ".join(list(columns)[:5]) + (f" and {len(columns) - 5} more" if len(columns) > 5 else "")
    # Without a separator, the columns are what tells labels apart: nothing is guessed in a cell.
    parts = [clean(name, rows[name], separator=separator or "") for name in columns]
    values = [part.column.to_pylist() for part in parts]
    words: Counter[str] = Counter()
    lists: list[list[str] | None]
    if all(_only_0_and_1(part.column) for part in parts):
        notes: tuple[str, ...] = (f"the column {made!r} has the names of those columns that are 1: {listed}",)
        names = list(columns.values())
        cells = ([name for name, value in zip(names, row, strict=True) if value] for row in zip(*values, strict=True))
        lists = [list(dict.fromkeys(cell)) or None for cell in cells]
    else:
        for part in parts:
            words.update(part.words)
        notes = (f"the column {made!r} has the values of {listed}", *(note for part in parts for note in part.notes))
        lists = [labels_of(_flat(row), Counter()) for row in zip(*values, strict=True)]
    column = pa.chunked_array([pa.array(lists, pa.list_(pa.string()))])
    return FoundLabel(made, rows.append_column(made, column), notes, words)


def _only_0_and_1(column: pa.ChunkedArray) -> bool:
    """Whether a cleaned column holds only 0 and 1, or booleans, and not only nulls."""
    if column.null_count == len(column):
        return False
    if pa.types.is_boolean(column.type):
        return True
    if not pa.types.is_integer(column.type):
        return False
    return bool(pc.all(pc.or_(pc.equal(column, 0), pc.equal(column, 1))).as_py())


def _flat(cells: Sequence[Any]) -> list[Any]:
    return [value for cell in cells for value in (cell if isinstance(cell, list) else [cell])]
