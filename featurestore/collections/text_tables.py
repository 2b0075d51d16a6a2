"""Splits delimited text (CSV and its relatives) into columns of text: finds the separator and the header."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from featurestore.collections.limits import MAX_COLUMNS, MAX_ROWS
from featurestore.errors import MetadataError, reason
from featurestore.spreadsheet import may_hold_safe_cells, restored_cell, restored_column

# The usual one first: it wins where several split the rows alike.
SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}
# How much of a file is read to find its separator.
SAMPLE_CHARACTERS, SAMPLE_ROWS = 1 << 20, 200
# Excel takes its separator from such a first line.
NAMED_SEPARATOR = re.compile(r'"?sep=(?P<separator>[,;|\t:^~])"?(?:\r\n|\r|\n)')


@dataclass(frozen=True)
class SplitText:
    """Columns of text, all fields as they are written, empty ones null.

    Parameters
    ----------
    names
        As in the header, with empty and repeated ones; as many as ``columns``.
    """

    names: Sequence[str]
    columns: Sequence[pa.ChunkedArray]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Dialect:
    separator: str
    header: Sequence[str]
    first_row: Sequence[str]
    regular: bool

    @property
    def rank(self) -> tuple[bool, int]:
        return self.regular, len(self.header)


def split_text(content: bytes, path: Path) -> SplitText:
    """Split UTF-8 text that ends with a line end; its first row is the header.

    Raises
    ------
    MetadataError
        When a row has more or fewer fields than the others, a quoted field has no end, or there are too many rows.
    """
    if content.count(b"\n") > MAX_ROWS:
        raise MetadataError(f"{str(path)!r} has more than {MAX_ROWS:,} lines: leave out the rows without an image")
    sample = content[: 4 * SAMPLE_CHARACTERS].decode(errors="ignore")[:SAMPLE_CHARACTERS]
    named = NAMED_SEPARATOR.match(sample)
    separators: Sequence[str] = list(SEPARATORS)
    if named:
        content, sample = content[len(named.group().encode()) :], sample[named.end() :]
        separators = [named["separator"]]
        if not sample.strip():
            raise MetadataError(f"{str(path)!r} is empty after its first line: expected a header")
    whole = len(sample.encode()) == len(content)
    found = [_try(sample, separator, whole=whole) for separator in separators]
    dialects = [dialect for dialect in found if dialect is not None]
    if not dialects:
        raise MetadataError(f"{str(path)!r} has no readable header: expected the names of columns in its first row")
    dialect = max(dialects, key=lambda one: one.rank)  # the first of equal ones
    if len(dialect.header) > MAX_COLUMNS:
        raise MetadataError(f"{str(path)!r} has {len(dialect.header):,} columns: expected at most {MAX_COLUMNS:,}")
    names = _names(dialect)
    notes: tuple[str, ...] = ()
    if dialect.separator != "," and len(names) > 1:
        written = SEPARATORS.get(dialect.separator, repr(dialect.separator))
        notes = (f"the columns are separated by a {written}",)
    columns = _parse(content, dialect.separator, len(names), path).columns
    if not may_hold_safe_cells(content):
        return SplitText(names, columns, notes)
    restored = [restored_column(column) for column in columns]
    changed = sum(new is not old for new, old in zip(restored, columns, strict=True))
    if changed:
        many = "1 column has" if changed == 1 else f"{changed} columns have"
        notes += (f"{many} cells with a ' before =, +, - or @, as spreadsheets are given them: it was left out",)
    return SplitText([restored_cell(name) for name in names], restored, notes)


def _try(sample: str, separator: str, *, whole: bool) -> _Dialect | None:
    """The header and the first row as split at ``separator``; None if there is none."""
    rows: list[list[str]] = []
    try:
        # One more than is used, so that a row that the sample cuts off is never the last one used.
        rows += islice(filter(None, csv.reader(io.StringIO(sample, newline=""), delimiter=separator)), SAMPLE_ROWS + 1)
    except csv.Error:  # a field longer than the module allows: the rows before it tell
        whole = True
    if not whole:
        rows = rows[:-1]
    if not rows:
        return None
    header, *others = rows
    widths = {len(row) for row in others}
    regular = len(header) > 1 and (widths <= {len(header)} or widths == {len(header) + 1})
    return _Dialect(separator, header, others[0] if others else header, regular)


def _names(dialect: _Dialect) -> list[str]:
    """The header, with an empty name for the one column that rows may have more than the header.

    It is the last one where rows end with a separator, else the first: R writes the names of rows so.
    """
    names = list(dialect.header)
    if dialect.regular and len(dialect.first_row) == len(names) + 1:
        return [*names, ""] if not dialect.first_row[-1] else ["", *names]
    return names


def _parse(content: bytes, separator: str, width: int, path: Path) -> pa.Table:
    """All rows but the header, each with ``width`` fields."""
    names = [str(number) for number in range(width)]
    ragged: list[arrow_csv.InvalidRow] = []

    def refuse(row: arrow_csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(content),
            # One thread: only then does Arrow know the number of a row. One block: a row may be of any length.
            read_options=arrow_csv.ReadOptions(
                column_names=names,
                skip_rows_after_names=1,
                use_threads=False,
                block_size=max(1 << 20, len(content) + 1),
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        if ragged:
            row = ragged[0]
            raise MetadataError(
                f"{str(path)!r}: row {(row.number or 1) - 1} after the header has {row.actual_columns} fields, "
                f"expected {row.expected_columns}: {row.text[:80]!r}; correct that row, or put quotes round its text"
            ) from error
        raise MetadataError(f"{str(path)!r} is not a valid table ({reason(error)[:200]}): correct it") from error
    _refuse_open_quote(table, content, path)
    return table


def _refuse_open_quote(table: pa.Table, content: bytes, path: Path) -> None:
    """Refuse a quoted field without an end: it has swallowed all rows after it, and so ends as the file does."""
    if not len(table):
        return
    last = table.column(table.num_columns - 1)[-1].as_py()
    if last is not None and last.endswith("\n") and content[-2:] != b'"\n':
        raise MetadataError(
            f"{str(path)!r}: a quote that opens in row {len(table)} after the header is never closed: "
            f"{last[:80]!r}; close it, or write it twice within a quoted field"
        )
