"""Writes text so that a spreadsheet takes no cell of a CSV file for a formula, and reads such text back.

Excel, LibreOffice and Google Sheets run a cell that begins with ``=``, ``+``, ``-`` or ``@``, also after a tab or a
line end, and some read the full-width forms of these alike. As OWASP advises, such a cell is given a ``'`` in front. So
is a formula after a semicolon, tab or line end within a cell, where a spreadsheet with another separator starts a new
one. Numbers stay as they are, and where a ``'`` stands there already it gets a further one, so that reading restores
every text.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# For Python and for RE2. What begins a formula, and what some programs skip before one.
_FORMULA, _SKIPPED = r"=+\-@＝＋－＠", r"\t\r\n"
_GUARD = (rf"^('*[{_FORMULA}{_SKIPPED}])", r"'\1"), (rf"([;{_SKIPPED}])('*[{_FORMULA}])", r"\1'\2")
_RESTORE = (rf"^'('*[{_FORMULA}{_SKIPPED}])", r"\1"), (rf"([;{_SKIPPED}])'('*[{_FORMULA}])", r"\1\2")
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def safe_cell(text: str) -> str:
    """``text`` as no spreadsheet takes it for a formula.

    >>> [safe_cell(text) for text in ("=1+1", "-5", "5 - 3", "a;=1", "'=1")]
    ["'=1+1", '-5', '5 - 3', "a;'=1", "''=1"]
    """
    if re.fullmatch(_NUMBER[1:-1], text):
        return text
    for pattern, new in _GUARD:
        text = re.sub(pattern, new, text)
    return text


def safe_row(values: Iterable[Any], *, exact: bool = False) -> list[Any]:
    """The values of a row for Python's csv module, all text as `safe_cell` unless ``exact``."""
    return [safe_cell(value) if isinstance(value, str) and not exact else value for value in values]


class SafeCells:
    """The rows of ``rows`` with `safe_cell` for the names of their columns and all text in them, batch by batch.

    Attributes
    ----------
    changed
        How many cells that changed, as far as they were read.
    """

    def __init__(self, rows: pa.RecordBatchReader) -> None:
        names = [safe_cell(name) for name in rows.schema.names]
        self.changed = sum(new != name for new, name in zip(names, rows.schema.names, strict=True))
        kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in rows.schema.types]
        self._schema = pa.schema(zip(names, kinds, strict=True))
        self._rows = rows

    def reader(self) -> pa.RecordBatchReader:
        """The batches, to be read once."""
        return pa.RecordBatchReader.from_batches(self._schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._rows:
            columns = []
            for column in pa.Table.from_batches([batch]).columns:
                columns.append(_safe_column(column))
                if columns[-1] is not column:
                    self.changed += pc.sum(pc.not_equal(columns[-1], column)).as_py() or 0
            yield from pa.table(columns, names=self._schema.names).cast(self._schema).to_batches()


def changed_note(count: int) -> str:
    """What a person is told of ``count`` cells that `SafeCells` changed."""
    cells = "1 cell" if count == 1 else f"{count:,} cells"
    return f"note: {cells} that a spreadsheet would take for a formula got a ' in front; --exact writes text as it is"


def may_hold_safe_cells(content: bytes) -> bool:
    """Whether a CSV file may hold anything that `restored_cell` changes."""
    return re.search(rf"'[{_FORMULA}{_SKIPPED}]".encode(), content) is not None


def restored_cell(text: str) -> str:
    """``text`` as it was before `safe_cell`; other text stays as it is."""
    for pattern, new in _RESTORE:
        text = re.sub(pattern, new, text)
    return text


def restored_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`restored_cell` of each text of a column; ``column`` itself where there is nothing to change."""
    if not pc.any(pc.or_(*(pc.match_substring_regex(column, pattern) for pattern, _ in _RESTORE))).as_py():
        return column
    for pattern, new in _RESTORE:
        column = pc.replace_substring_regex(column, pattern, new)
    return column


def _safe_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """`safe_cell` of each text; ``column`` itself where there is nothing to change."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        decoded = column.cast(kind.value_type)
        safe = _safe_column(decoded)
        return column if safe is decoded else safe
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):  # bytes are written as they are
        texts = [None if value is None else value.decode("latin-1") for value in column.to_pylist()]
        safe_texts = [None if text is None else safe_cell(text) for text in texts]
        if safe_texts == texts:
            return column
        return pa.chunked_array([pa.array([None if t is None else t.encode("latin-1") for t in safe_texts], kind)])
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    dangerous = pc.or_(*(pc.match_substring_regex(column, pattern) for pattern, _ in _GUARD))
    dangerous = pc.and_not(dangerous, pc.match_substring_regex(column, _NUMBER))
    if not pc.any(dangerous).as_py():
        return column
    safe = column
    for pattern, new in _GUARD:
        safe = pc.replace_substring_regex(safe, pattern, new)
    return pc.if_else(dangerous, safe, column)
