"""Formats the result of a user's query: table, csv, json, parquet or arrow; it opens no store."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.commands.texts import json_text
from featurestore.errors import QueryError, in_one_line
from featurestore.files import Suffixes

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType, pa.ListViewType)
SUFFIXES: Suffixes = {
    "table": (".txt",),
    "csv": (".csv",),
    "json": (".json",),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".arrows"),
}
CAST = "cast that column in the query, for example to VARCHAR"
# How many rows a table shows; of how many numbers a vector is abbreviated, and to how many.
ROWS, LONG_VECTOR, FIRST = 20, 6, 3
# DuckDB shows no more rows of one table; and wider than any.
AT_ONCE, WIDEST = 9_999, 10**6
VECTOR_TEXT = f"""
CASE
    WHEN len(x) <= {LONG_VECTOR} THEN x::VARCHAR
    ELSE format('[{{}}, … {{:,}} numbers]',
        array_to_string(list_transform(x[1:{FIRST}], lambda e: coalesce(format('{{:.3g}}', e), 'NULL')), ', '), len(x))
END AS x
"""


def table_text(result: pa.Table, *, rows: int | None = ROWS, width: int | None = None) -> str:
    """``result`` as a table for people; vectors are abbreviated to their first numbers.

    Parameters
    ----------
    rows, width
        At most this many rows, and characters of a line; None for all.

    Raises
    ------
    QueryError
        When a table can't show it.
    """
    import duckdb

    shown = io.StringIO()
    step = AT_ONCE if rows is None else max(len(result), 1)
    try:
        with duckdb.connect(":memory:") as connection, redirect_stdout(shown):
            texts = _abbreviated(result, connection)
            for start in range(0, max(len(texts), 1), step):
                block = connection.from_arrow(texts.slice(start, step))
                block.show(max_rows=rows or AT_ONCE, max_width=width or WIDEST)
    except duckdb.Error as error:
        raise QueryError(f"a table can't show this result ({in_one_line(error)}): {CAST}") from error
    return "".join(f"{line}\n" for line in shown.getvalue().splitlines() if line)


def _abbreviated(result: pa.Table, connection: "DuckDBPyConnection") -> pa.Table:
    """``result`` with texts in place of vectors, which would fill the screen."""
    for place, field in enumerate(result.schema):
        kind = field.type
        if isinstance(kind, LISTS) and pa.types.is_floating(kind.value_type):
            texts = connection.from_arrow(pa.table({"x": result.column(place)})).project(VECTOR_TEXT)
            result = result.set_column(place, field.name, texts.to_arrow_table()["x"])
    return result


def _table(table: pa.Table) -> bytes:
    return table_text(table).encode()


def _csv(table: pa.Table) -> bytes:
    from pyarrow import csv

    sink = io.BytesIO()
    try:
        csv.write_csv(table, sink)
    except pa.ArrowException as error:
        raise QueryError(f"CSV can't hold this result ({error}): use --format json, or leave out the lists") from error
    return sink.getvalue()


def _json(table: pa.Table) -> bytes:
    try:
        rows = table.to_pylist()
    except (ValueError, OverflowError) as error:  # a date that Python can't represent
        raise QueryError(f"JSON can't hold this result ({error}): {CAST}") from error
    return f"{json_text(rows)}\n".encode()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    try:
        pq.write_table(table, sink)
    except pa.ArrowException as error:
        raise QueryError(f"Parquet can't hold this result ({error}): {CAST}") from error
    return sink.getvalue()


def _arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    try:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    except pa.ArrowException as error:
        raise QueryError(f"Arrow can't hold this result ({error}): {CAST}") from error
    return sink.getvalue()


# How each form is written; a `QueryError` says that it can't hold a result.
FORMS: dict[str, Callable[[pa.Table], bytes]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
}
