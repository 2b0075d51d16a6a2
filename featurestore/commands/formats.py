"""Formats the result of a user's query batch by batch: table, csv, json, parquet or arrow; it opens no store."""

import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore import arrow
from featurestore.commands.texts import json_text
from featurestore.errors import QueryError, in_one_line

LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.ListViewType)
CAST = "cast that column in the query, for example to VARCHAR"
# How many rows a table shows; of how many numbers a vector is abbreviated, and to how many.
ROWS, LONG_VECTOR, FIRST = 20, 6, 3
# Bytes of a result of which Python objects are made at a time; rows and bytes of a row group of Parquet.
PIECE_BYTES, GROUP_ROWS, GROUP_BYTES = 1 << 20, 1 << 20, 1 << 26
# DuckDB shows no more rows of one table; and wider than any.
AT_ONCE, WIDEST = 9_999, 10**6
VECTOR_TEXT = f"""
CASE
    WHEN len(x) <= {LONG_VECTOR} THEN x::VARCHAR
    ELSE format('[{{}}, … {{:,}} numbers]',
        array_to_string(list_transform(x[1:{FIRST}], lambda e: coalesce(format('{{:.3g}}', e), 'NULL')), ', '), len(x))
END AS x
"""


@dataclass(frozen=True)
class FirstAndLast:
    """The rows of a result that a table of it shows, with rows of NULL in place of the others, and their number."""

    table: pa.Table
    count: int


def table_text(rows: pa.Table | pa.RecordBatchReader, *, most: int | None = ROWS, width: int | None = None) -> str:
    """A result as a table for people, see `table_pieces`."""
    return b"".join(table_pieces(rows, most=most, width=width)).decode()


def table_pieces(
    rows: pa.Table | pa.RecordBatchReader, *, most: int | None = ROWS, width: int | None = None
) -> Iterator[bytes]:
    """A result as a table for people; vectors are abbreviated to their first numbers.

    Parameters
    ----------
    most, width
        At most this many rows, and characters of a line; None for all.

    Raises
    ------
    QueryError
        When a table can't show it.
    """
    if most is not None:
        yield shown_table(first_and_last(rows, most).table, most=most, width=width)
        return
    reader, some = _reader(rows), False
    for block in _blocks(reader, rows=AT_ONCE, size=GROUP_BYTES):
        yield shown_table(block, most=AT_ONCE, width=width)
        some = True
    if not some:
        yield shown_table(pa.Table.from_batches([], reader.schema), most=AT_ONCE, width=width)


def first_and_last(rows: pa.Table | pa.RecordBatchReader, most: int) -> FirstAndLast:
    """Read a result to its end, but keep only as many rows as a table shows."""
    reader, count = _reader(rows), 0
    kept = first = last = pa.Table.from_batches([], reader.schema)  # `empty_table` imports pandas
    half = most // 2
    for batch in reader:
        part, count = pa.Table.from_batches([batch]), count + len(batch)
        if len(kept) <= most:
            kept = pa.concat_tables([kept, part.slice(0, most + 1 - len(kept))])
        if len(first) < half:
            first = pa.concat_tables([first, part.slice(0, half - len(first))])
        last = pa.concat_tables([last, part.slice(max(len(part) - half, 0))])
        last = last.slice(max(len(last) - half, 0))
        last = last.take(arrow.from_numpy(np.arange(len(last))))  # a copy, which does not keep the batch in memory
    if count <= most:
        return FirstAndLast(kept, count)
    between = min(count, AT_ONCE + 1) - 2 * half  # a table of more rows says that it has more
    first, last = _abbreviated(first), _abbreviated(last)
    nothing = [pa.nulls(between, field.type) for field in first.schema]
    return FirstAndLast(pa.concat_tables([first, pa.Table.from_arrays(nothing, schema=first.schema), last]), count)


def shown_table(table: pa.Table, *, most: int, width: int | None) -> bytes:
    """DuckDB's picture of a table, with at most so many rows."""
    import duckdb

    shown = io.StringIO()
    try:
        with duckdb.connect(":memory:") as connection, redirect_stdout(shown):
            connection.from_arrow(_abbreviated(table)).show(max_rows=most, max_width=width or WIDEST)
    except (duckdb.Error, pa.ArrowException) as error:
        raise QueryError(f"a table can't show this result ({in_one_line(error)}): {CAST}") from error
    return "".join(f"{line}\n" for line in shown.getvalue().splitlines() if line).encode()


def _abbreviated(result: pa.Table) -> pa.Table:
    """``result`` with texts in place of vectors, which would fill the screen."""
    import duckdb

    for place, field in enumerate(result.schema):
        kind = field.type
        if isinstance(kind, LISTS) and pa.types.is_floating(kind.value_type):
            with duckdb.connect(":memory:") as connection:
                texts = connection.from_arrow(pa.table({"x": result.column(place)})).project(VECTOR_TEXT)
                result = result.set_column(place, field.name, texts.to_arrow_table()["x"])
    return result


def _csv(rows: pa.Table | pa.RecordBatchReader) -> Iterator[bytes]:
    from pyarrow import csv

    reader, sink = _reader(rows), arrow.PieceSink()
    try:
        with csv.CSVWriter(sink, reader.schema) as writer:
            for piece in _pieces(reader):
                writer.write_batch(piece)
                yield sink.taken()
    except pa.ArrowException as error:
        raise QueryError(f"CSV can't hold this result ({error}): use --format json, or leave out the lists") from error
    yield sink.taken()


def _json(rows: pa.Table | pa.RecordBatchReader) -> Iterator[bytes]:
    start = "["
    try:
        for piece in _pieces(_reader(rows)):
            yield f"{start}{json_text(piece.to_pylist())[1:-1]}".encode()
            start = ", "
    except (ValueError, OverflowError) as error:  # a date that Python can't represent
        raise QueryError(f"JSON can't hold this result ({error}): {CAST}") from error
    yield b"]\n" if start != "[" else b"[]\n"


def _parquet(rows: pa.Table | pa.RecordBatchReader) -> Iterator[bytes]:
    reader, sink = _reader(rows), arrow.PieceSink()
    try:
        with pq.ParquetWriter(sink, reader.schema) as writer:
            for block in _blocks(reader, rows=GROUP_ROWS, size=GROUP_BYTES):
                writer.write_table(block)
                yield sink.taken()
    except pa.ArrowException as error:
        raise QueryError(f"Parquet can't hold this result ({error}): {CAST}") from error
    yield sink.taken()


def _arrow(rows: pa.Table | pa.RecordBatchReader) -> Iterator[bytes]:
    try:
        yield from arrow.as_stream(_reader(rows))
    except pa.ArrowException as error:
        raise QueryError(f"Arrow can't hold this result ({error}): {CAST}") from error


def _reader(rows: pa.Table | pa.RecordBatchReader) -> pa.RecordBatchReader:
    return rows.to_reader() if isinstance(rows, pa.Table) else rows


def _pieces(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches of a result in pieces of about `PIECE_BYTES`, at least a row each."""
    for batch in reader:
        step = max(len(batch) * PIECE_BYTES // max(batch.nbytes, 1), 1)
        for start in range(0, len(batch), step):
            yield batch.slice(start, step)


def _blocks(reader: pa.RecordBatchReader, *, rows: int, size: int) -> Iterator[pa.Table]:
    """A result in tables of at most ``rows`` rows, and of no more than about ``size`` bytes."""
    kept: list[pa.RecordBatch] = []
    have = held = 0
    for batch in reader:
        while len(batch):
            kept.append(batch.slice(0, rows - have))
            batch = batch.slice(len(kept[-1]))
            have, held = have + len(kept[-1]), held + kept[-1].nbytes
            if have == rows or held >= size:
                yield pa.Table.from_batches(kept)
                kept, have, held = [], 0, 0
    if kept:
        yield pa.Table.from_batches(kept)


# How each form is written, piece by piece; a `QueryError` says that it can't hold a result.
FORMS: dict[str, Callable[[pa.Table | pa.RecordBatchReader], Iterator[bytes]]] = {
    "table": table_pieces,
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
}
