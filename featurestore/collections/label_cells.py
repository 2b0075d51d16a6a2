"""Cleans the cells of a label column: what is no label, what holds several labels, and what type they have.

`featurestore.features.labels.has_label` says of a stored value whether it is a label. Here, words such as `N/A` are
missing values too: what a store keeps was cleaned, so there they are labels.
"""

import ast
import io
import json
import math
import tokenize
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.collections.column_types import storable
from featurestore.errors import InputError

# How programs write a missing value. `NA` is not one of them: it is Namibia, or sodium.
NO_LABEL_WORDS = frozenset({"NaN", "nan", "NULL", "null", "N/A", "n/a", "None", "none", "<NA>"})
# What may separate labels in a cell, and one of how many cells must contain it.
SEPARATORS = {"|": 5, ";": 5, ",": 2}
# A longer cell is not parsed as a list.
MAX_LIST_TEXT = 10_000
LARGEST_WHOLE = 2.0**53


@dataclass(frozen=True)
class CleanLabels:
    """A label column after cleaning: null where there is no label; lists have no null, blank or repeated label.

    Parameters
    ----------
    words
        How often each of `NO_LABEL_WORDS` was taken as no label.
    """

    column: pa.ChunkedArray
    words: Mapping[str, int]
    notes: tuple[str, ...]


def clean(name: str, column: pa.ChunkedArray, *, separator: str | None) -> CleanLabels:
    """Clean the label column ``name``; see `find_label` for ``separator``.

    Raises
    ------
    InputError
        When its values can't be labels: bytes or structs.
    """
    column = storable(column)
    if not is_label_type(column.type):
        raise InputError(f"the column {name!r} holds {column.type}, expected text, numbers, dates or lists of these")
    if pa.types.is_string(column.type):
        return _clean_text(name, column, separator)
    if _is_list(column.type):
        words: Counter[str] = Counter()
        texts = pa.types.is_string(column.type.value_type)
        cells = [None if cell is None else labels_of(cell, words, texts=texts) for cell in column.to_pylist()]
        return CleanLabels(pa.chunked_array([pa.array(cells, pa.list_(column.type.value_type))]), words, ())
    if pa.types.is_floating(column.type):
        return _clean_floats(name, column)
    return CleanLabels(column, {}, ())


def is_label_type(kind: pa.DataType) -> bool:
    """Whether values of a type can be labels, alone or in a list."""
    if _is_list(kind):
        return not _is_list(kind.value_type) and is_label_type(kind.value_type)
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind))


def labels_of(cell: Sequence[Any], words: Counter[str], *, texts: bool = True, count: int = 1) -> list[Any] | None:
    """The labels in a cell, each once; None if there are none.

    Parameters
    ----------
    words
        Is increased by ``count``, the number of rows with this cell, for each word that is no label.
    texts
        Whether to return text, stripped; else the values are returned as they are.
    """
    labels: dict[Any, None] = {}
    for value in cell:
        if value is None or value != value:  # only NaN differs from itself
            continue
        text = written(value)
        if text in NO_LABEL_WORDS:
            words[text] += count
        elif text:
            labels[text if texts else value] = None
    return list(labels) or None


def written(value: Any) -> str:
    """A value as the text of a label: stripped, whole numbers without a point."""
    whole = isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_WHOLE
    text = str(int(value) if whole else value).strip()
    return text.encode(errors="replace").decode()  # JSON and Python can spell half a surrogate pair


def _clean_text(name: str, column: pa.ChunkedArray, separator: str | None) -> CleanLabels:
    """Each distinct cell is cleaned once."""
    encoded = column.combine_chunks().dictionary_encode()
    cells = encoded.dictionary.to_pylist()
    counted = pc.value_counts(encoded.indices.drop_null()).to_pylist()
    counts = {cells[one["values"]]: one["counts"] for one in counted}
    labels = {cell: cell.strip() for cell in cells}
    words: Counter[str] = Counter()
    for cell, label in labels.items():
        if label in NO_LABEL_WORDS:
            words[label] += counts[cell]
    kept = [cell for cell, label in labels.items() if label and label not in NO_LABEL_WORDS]
    split, note = _split({cell: counts[cell] for cell in kept}, separator)
    notes = [f"the cells of {name!r} {note}"] if note else []
    cleaned: dict[str, Any]
    if split is None:
        cleaned, kind = {cell: labels[cell] for cell in kept}, pa.string()
        spaces = sum(counts[cell] for cell in kept if labels[cell] != cell)
        if spaces:
            notes.append(f"{spaces:,} labels in {name!r} had spaces at their ends: these were removed")
    else:
        cleaned = {cell: labels_of(pieces, words, count=counts[cell]) for cell, pieces in split.items()}
        kind = pa.list_(pa.string())
    distinct = pa.array([cleaned.get(cell) for cell in cells], kind)
    return CleanLabels(pa.chunked_array([distinct.take(encoded.indices)]), words, tuple(notes))


def _split(counts: Mapping[str, int], separator: str | None) -> tuple[dict[str, Sequence[Any]] | None, str]:
    """The labels in each cell, and how they were told; None if each cell is one label.

    ``counts`` has the number of rows of each cell that is a label.
    """
    rows = sum(counts.values())
    guessed = separator is None
    if guessed:
        lists = {cell: parse_list(cell) for cell in counts}
        if rows and 2 * sum(counts[cell] for cell, found in lists.items() if found is not None) >= rows:
            return {cell: [cell] if found is None else found for cell, found in lists.items()}, "are lists of labels"
        separator = _guess_separator(counts, rows)
    if not separator:
        return None, ""
    split: dict[str, Sequence[Any]] = {cell: cell.split(separator) for cell in counts}
    if all(len(pieces) == 1 for pieces in split.values()):
        return split, f"are nowhere split, since none contains {separator!r}"
    return split, f"were split at {separator!r}{' (guessed)' if guessed else ''}, each part is a label"


def _guess_separator(counts: Mapping[str, int], rows: int) -> str:
    """The separator that enough cells contain and that leaves fewer labels than there are cells; else empty."""
    for separator, one_of in SEPARATORS.items():
        containing = sum(count for cell, count in counts.items() if separator in cell)
        if containing and one_of * containing >= rows:
            pieces = {piece.strip() for cell in counts for piece in cell.split(separator)} - {""}
            if len(pieces) < len({cell.strip() for cell in counts}):
                return separator
    return ""


def parse_list(text: str) -> list[Any] | None:
    """The values of a list as Python, NumPy or JSON write it, without lists within; None for other text.

    >>> [parse_list(text) for text in ("['a', 'b']", "['a' 'b']", '["a", null]', "[sic]", "a, b")]
    [['a', 'b'], ['a', 'b'], ['a', None], None, None]
    """
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]") and len(text) <= MAX_LIST_TEXT):
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = _parse_python(text)
    return None if values is None or _has_nested(values) else list(values)


def _parse_python(text: str) -> list[Any] | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python doesn't know
            body = ast.parse(text, mode="eval").body
            if not isinstance(body, ast.List):
                return None
            values = [_constant(element) for element in body.elts]
            if _has_nested(values):
                return None
            # NumPy writes no commas, and Python takes strings without commas between them for one.
            tokens = [
                token.string
                for token in tokenize.generate_tokens(io.StringIO(text).readline)
                if token.type == tokenize.STRING
            ]
            if len(tokens) > sum(isinstance(value, str) for value in values):
                return [ast.literal_eval(token) for token in tokens]
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return None
    return values


def _has_nested(values: Sequence[Any]) -> bool:
    return any(isinstance(value, list | tuple | dict | set) for value in values)


def _constant(element: ast.expr) -> Any:
    if isinstance(element, ast.Name) and element.id == "nan":
        return math.nan
    return ast.literal_eval(element)


def _clean_floats(name: str, column: pa.ChunkedArray) -> CleanLabels:
    """NaN is null; if all others are whole numbers, as pandas makes of integers with gaps, they become int64."""
    column = pc.if_else(pc.is_nan(column), None, column)
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less_equal(pc.abs(column), LARGEST_WHOLE))
    if column.null_count == len(column) or not pc.all(whole).as_py():
        return CleanLabels(column, {}, ())
    return CleanLabels(column.cast(pa.int64()), {}, (f"the labels in {name!r} are whole numbers: 1.0 is called 1",))


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)
