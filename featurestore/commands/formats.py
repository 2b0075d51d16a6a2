"""Formats the result of a user's query: table, csv, json, parquet or arrow; it opens no store."""

import io
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore import FeatureStore
from featurestore.commands.texts import json_text
from featurestore.errors import QueryError, in_one_line
from featurestore.files import Suffixes

SUFFIXES: Suffixes = {
    "table": (".txt",),
    "csv": (".csv",),
    "json": (".json",),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".arrows"),
}
CAST = "cast that column in the query, for example to VARCHAR"


def run_to_bytes(store: FeatureStore, query: str, form: str, *, seconds: float = 300.0) -> bytes:
    """Run ``query`` on ``store`` and return the result as ``form``: table, csv, json, parquet or arrow.

    Raises
    ------
    QueryError
        When the query is refused or fails, or its result can't be written in that form.
    """
    return FORMS[form](store.sql(query, seconds=seconds))


def _table(table: pa.Table) -> bytes:
    import duckdb

    try:
        with duckdb.connect(":memory:") as connection:
            return f"{connection.from_arrow(table)}\n".encode()
    except duckdb.Error as error:
        raise QueryError(f"a table can't show this result ({in_one_line(error)}): {CAST}") from error


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


FORMS: dict[str, Callable[[pa.Table], bytes]] = {
    "table": _table,
    "csv": _csv,
    "json": _json,
    "parquet": _parquet,
    "arrow": _arrow,
}
