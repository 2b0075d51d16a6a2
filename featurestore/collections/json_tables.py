"""Reads JSON text, an array of objects or one object a line, as columns."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore.collections.column_types import from_values
from featurestore.collections.limits import MAX_COLUMNS, MAX_JSON_VALUES
from featurestore.errors import MetadataError, reason


def looks_like_json(content: bytes) -> bool:
    """Whether text begins as JSON lines or a JSON array of objects do; the header of a CSV never does."""
    start = content[:4096].lstrip()
    return start.startswith(b"{") or (start.startswith(b"[") and start[1:].lstrip()[:1] in (b"{", b"]"))


def parse_json(content: bytes, path: Path) -> tuple[list[str], list[pa.ChunkedArray], tuple[str, ...]]:
    """The names, in the order in which they first occur, the columns, and notes; a field that an object lacks is null.

    Raises
    ------
    MetadataError
        When it is not JSON, holds something else than objects, or too many values.
    """
    if sum(map(content.count, (b",", b"\n", b"{", b"["))) > MAX_JSON_VALUES:
        raise MetadataError(f"{str(path)!r} holds more than {MAX_JSON_VALUES:,} values: write it as Parquet or CSV")
    rows = _array(content, path) if content.lstrip().startswith(b"[") else _lines(content, path)
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise MetadataError(
                f'{str(path)!r}: item {number} is {json.dumps(row)[:80]}: expected objects, as {{"label": "cat"}}'
            )
    if len(rows) == 1 and len(rows[0]) and all(isinstance(value, dict) for value in rows[0].values()):
        raise MetadataError(
            f"{str(path)!r} is one JSON object of columns: expected one object a row, "
            "as pandas writes with `to_json(orient='records', lines=True)`"
        )
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) > MAX_COLUMNS:
        raise MetadataError(f"{str(path)!r} has {len(names):,} columns: expected at most {MAX_COLUMNS:,}")
    if not names:
        raise MetadataError(f"{str(path)!r} holds no rows: expected one JSON object for each image")
    columns, notes = [], []
    for name in names:
        values = [row.get(name) for row in rows]
        columns.append(from_values(values))
        if pa.types.is_string(columns[-1].type) and not all(isinstance(value, str | None) for value in values):
            notes.append(f"the column {name[:80]!r} holds values that don't fit one type: they became text")
    return names, columns, tuple(notes)


def _array(content: bytes, path: Path) -> Sequence[Any]:
    try:
        rows: Sequence[Any] = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{str(path)!r} is not valid JSON ({reason(error)[:200]}): correct it") from error
    return rows


def _lines(content: bytes, path: Path) -> Sequence[Any]:
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise MetadataError(
                    f"{str(path)!r}: line {number} is not valid JSON ({reason(error)[:200]}): "
                    "expected one object a line, or an array of objects"
                ) from error
    return rows
