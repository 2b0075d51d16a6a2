"""User SQL, read-only, and its result in the format a person or a script asks for."""

import io
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.catalog import connect, quote_text, run_query
from featurestore.errors import QueryError
from featurestore.layout import read_layout
from featurestore.state import read_state


def run_to_bytes(root: Path, query: str, form: str) -> bytes:
    """Run ``query`` over the store in ``root`` and give the result as ``form``: table, csv, json, parquet or arrow.

    Raises
    ------
    QueryError
        When the query can't be run, or its result can't be written in that form.
    """
    layout = read_layout(root, read_state(root))
    with connect(layout, root) as connection:
        connection.execute(f"SET allowed_directories = [{quote_text(str(root.resolve()) + '/')}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        result = run_query(connection, query)
        if form == "table":
            return f"{connection.from_arrow(result)}\n".encode() if result.num_columns else b""
    return FORMS[form](result)


def _csv(table: pa.Table) -> bytes:
    from pyarrow import csv

    sink = io.BytesIO()
    try:
        csv.write_csv(table, sink)
    except pa.ArrowException as error:
        raise QueryError(f"CSV can't hold this result ({error}): use --format json, or leave out the lists") from error
    return sink.getvalue()


def _json(table: pa.Table) -> bytes:
    import json

    return (json.dumps(table.to_pylist(), default=str, ensure_ascii=False) + "\n").encode()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


FORMS: dict[str, Callable[[pa.Table], bytes]] = {"csv": _csv, "json": _json, "parquet": _parquet, "arrow": _arrow}
