"""Joins the rows of a table with images: which image each row is of, what is wrong with it, one row for each image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.collections.general.recipe import OWN_COLUMNS
from featurestore.collections.labels import find_label
from featurestore.collections.matching import EXACTLY, Matches, guess_key, match
from featurestore.collections.tables import ReadTable
from featurestore.errors import InputError
from featurestore.storage.names import nearest

NO_IMAGE, AMBIGUOUS = "row without an image", "row that fits several images"
AGAIN, CONTRADICTING = "second row for one image", "contradicting labels"
# What a column holds that marks a label.
MARKS = {"0", "1", "True", "False", None}
# Names of a column with a title, in lower case.
TITLES = ("title", "caption", "name")
# How many labels the detail of a row lists, and how many characters of each.
LISTED, WIDEST = 5, 80


@dataclass(frozen=True)
class JoinedRows:
    """The rows with the columns in `OWN_COLUMNS`, the columns of the label and of the title, and what was guessed."""

    rows: pa.Table
    label: str | None
    title: str | None
    notes: Sequence[str]


def join(table: ReadTable, images: pa.Table, *, key: str | Sequence[str] | None, labels: Sequence[str]) -> JoinedRows:
    """Join the rows of ``table`` with ``images``.

    Parameters
    ----------
    key
        The column that names the image, or the name of each row's image; guessed when None.
    labels
        The columns of the label; guessed if empty.

    Raises
    ------
    InputError
        When there is no such column, or none that names images, or its values name none.
    """
    rows, notes = table.rows, list(table.notes)
    names = images["ImgName"].to_pylist()
    if key is None:
        key = _guessed(rows, names, notes)
    column, keys = (key, key_texts(rows, key)) if isinstance(key, str) else (None, list(key))
    found = find_label(rows, labels, exclude=[] if column is None else [column])
    notes += found.notes
    notes += [
        f"{count:,} {'row has' if count == 1 else 'rows have'} the label {word!r}, taken as no label"
        for word, count in found.no_label_words.items()
    ]
    matches = match(keys, names)
    if len(names) and not matches.levels and not matches.ambiguous:
        _refuse_unmatched(keys, names, column)
    notes += [
        f"{count:,} {'key was' if count == 1 else 'keys were'} matched {how}"
        for how, count in matches.levels.items()
        if how != EXACTLY
    ]
    union = len(labels) > 1
    owned, problems, details, label = _resolve(matches, found.rows, found.column, union=union)
    ids = images["ImgId"].combine_chunks().take(pa.array(owned, pa.int64(), mask=owned < 0))
    columns = [ids, pa.array(keys, pa.string()), pa.array(problems, pa.string()), pa.array(details, pa.string())]
    table_columns = {name: found.rows[name] for name in found.rows.column_names}
    if found.column is not None and label is not None:
        table_columns[found.column] = label
    own = pa.table(dict(zip(OWN_COLUMNS.names, columns, strict=True)) | table_columns)
    others = (name for name in rows.column_names if name not in (column, found.column))
    title = next((name for name in others if name.lower() in TITLES), None)
    return JoinedRows(own, found.column, title, notes)


def join_again(stored: pa.Table, images: pa.Table) -> pa.Table:
    """The ``stored`` rows, where those that had no image have one that came since."""
    taken = pc.is_in(images["ImgId"], value_set=stored["ImgId"].combine_chunks())
    new = images.filter(pc.invert(taken))
    places = np.flatnonzero(pc.fill_null(pc.equal(stored["RowProblem"], NO_IMAGE), False).to_numpy())
    keys = stored["RowKey"].take(pa.array(places)).to_pylist()
    found = match(keys, new["ImgName"].to_pylist()).places
    ids, problems = stored["ImgId"].to_pylist(), stored["RowProblem"].to_pylist()
    new_ids = new["ImgId"].to_pylist()
    used: set[int] = set()
    for place, image in zip(places.tolist(), found.tolist(), strict=True):
        if image >= 0 and image not in used:
            used.add(image)
            ids[place], problems[place] = new_ids[image], None
    stored = stored.set_column(0, OWN_COLUMNS.field(0), pa.array(ids, pa.int32()))
    return stored.set_column(2, OWN_COLUMNS.field(2), pa.array(problems, pa.string()))


def key_texts(rows: pa.Table, key: str) -> list[str | None]:
    """The column ``key`` as text; raises `InputError` when there is none."""
    if key not in rows.column_names:
        raise InputError(
            f"the table has no column {key!r} ({nearest(key, rows.column_names)}): name the key with --key"
        )
    return _texts(rows[key])


def _texts(column: pa.ChunkedArray) -> list[str | None]:
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        return [None] * len(column)
    return [None if value is None else str(value) for value in column.to_pylist()]


def _guessed(rows: pa.Table, names: Sequence[str], notes: list[str]) -> str:
    texts = {name: _texts(rows[name]) for name in rows.column_names}
    # A column of 0 and 1 marks a label; as keys they would name the images 0.jpg and 1.jpg.
    found = guess_key({name: values for name, values in texts.items() if not {*values} <= MARKS}, names)
    if found is None:
        first = f"such as {names[0]!r}" if names else "none"
        raise InputError(
            f"no column of the table names the images ({first}); there are the columns {', '.join(rows.column_names)}: "
            "name the right one with --key"
        )
    notes.append(f"the column {found[0]!r} names the images ({found[1]:,} of {len(names):,})")
    return found[0]


def _refuse_unmatched(keys: Sequence[str | None], names: Sequence[str], column: str | None) -> None:
    first = next((repr(key[:WIDEST]) for key in keys if key), "empty")
    raise InputError(
        f"none of the {len(keys):,} rows names an image: the first {f'in {column!r} ' if column else ''}is {first}, an "
        f"image is called {names[0]!r}; name the right column with --key, or the right folder with --images"
    )


def _resolve(
    matches: Matches, rows: pa.Table, label: str | None, *, union: bool
) -> tuple[NDArray[np.int64], list[str | None], list[str | None], pa.Array | None]:
    """The image of each row that is used, -1 for the others; the problem of each row, and its detail; the labels."""
    owned = matches.places.copy()
    problems: list[str | None] = [None if place >= 0 else NO_IMAGE for place in owned.tolist()]
    details: list[str | None] = [None] * len(owned)
    for row, candidates in matches.ambiguous.items():
        problems[row], details[row] = AMBIGUOUS, ", ".join(candidates)
    several = _rows_of_one_image(owned)
    if not several:
        return owned, problems, details, None
    values: list[Any] = [None] * len(owned) if label is None else rows[label].to_pylist()
    for group in several:
        first, *others = group
        found: list[Any] = [values[row] for row in group if values[row] is not None]
        if union and found:
            values[first] = sorted({item for value in found for item in value})
        elif any(value != found[0] for value in found):
            values[first] = None
            problems[first], details[first] = CONTRADICTING, _detail(found)
        elif found:
            values[first] = found[0]
        for row in others:
            owned[row] = -1
            contradicts = problems[first] == CONTRADICTING
            problems[row], details[row] = (
                (CONTRADICTING, details[first]) if contradicts else (AGAIN, f"as row {first + 1}")
            )
    return owned, problems, details, None if label is None else pa.array(values, rows[label].type)


def _rows_of_one_image(places: NDArray[np.int64]) -> list[list[int]]:
    """The rows of each image that has several, in the order of the rows."""
    order = np.argsort(places, kind="stable")
    order = order[places[order] >= 0]
    starts = np.flatnonzero(np.diff(places[order], prepend=-1))
    return [group.tolist() for group in np.split(order, starts[1:]) if len(group) > 1]


def _detail(labels: Sequence[object]) -> str:
    """The first of the labels: each row of an image keeps this text, and there can be many of both."""
    distinct = list(dict.fromkeys(str(label) for label in labels))
    more = [f"and {len(distinct) - LISTED:,} more"] if len(distinct) > LISTED else []
    return ", ".join([label[:WIDEST] for label in distinct[:LISTED]] + more)
