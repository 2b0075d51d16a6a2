"""What corrections change: the collection as it was read beside what is shown, as values, lists and sentences."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featurestore.catalog.database import Database
from featurestore.catalog.sql_types import sql_type
from featurestore.errors import InputError, QueryError
from featurestore.files import format_of, refuse_target, write_atomic
from featurestore.spreadsheet import safe_row
from featurestore.storage.layout import Layout
from featurestore.storage.names import alike, nearest, quote_name

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader

TABLE = "corrections"
# What `correct_labels` refuses: they say which image a row is of.
NAMES = ("ImgId", "ImgName")
COLUMNS = ("ImgId", "ImgName", "column", "from", "to", "at", "undone", "as_read")
# Of a column with more different values no similar one is looked for.
MOST_VALUES = 1000
IN_FORCE = "SELECT DISTINCT ImgId FROM corrections WHERE undone IS NULL"


def as_read(layout: Layout) -> Layout:
    """The same state without corrections: its views show what was read."""
    tables = {name: manifest for name, manifest in layout.state.tables.items() if name != TABLE}
    return Layout(layout.objects, replace(layout.state, tables=tables))


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds several values an image."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def editable_columns(database: Database) -> dict[str, pa.DataType]:
    """The columns of `collection` that can be corrected, with their types: text, numbers, dates or lists of these."""
    schema = database.query("FROM collection LIMIT 0").schema
    kinds = {field.name: field.type for field in schema if field.name not in NAMES}
    inner = {name: kind.value_type if is_list(kind) else kind for name, kind in kinds.items()}
    plain = {name for name, kind in inner.items() if not (pa.types.is_nested(kind) or pa.types.is_binary(kind))}
    return {name: kind for name, kind in kinds.items() if name in plain}


def column_named(database: Database, name: str) -> tuple[str, pa.DataType]:
    """The name and type of the column ``name`` of `collection`; as in SQL, whatever its case.

    Raises
    ------
    InputError
        When there is none, or it can't be corrected.
    """
    known = editable_columns(database)
    found = name if name in known else {other.lower(): other for other in known}.get(name.lower())
    if found is not None:
        return found, known[found]
    if name.lower() in {column.lower() for column in database.columns("collection") or ()}:
        raise InputError(f"the column {name!r} can't be corrected, which is possible in: {', '.join(known)}")
    raise InputError(f"the view `collection` has no column {name!r} ({nearest(name, known)}): name one with --column")


def text_of(column: str, kind: pa.DataType) -> str:
    """The SQL of a value of ``column`` as a correction holds it."""
    return f"to_json({quote_name(column)})::VARCHAR" if is_list(kind) else f"{quote_name(column)}::VARCHAR"


def stored_text(database: Database, column: str, kind: pa.DataType, values: Sequence[str]) -> str:
    """``values`` as a correction of ``column`` holds them: as the text of a value of its type.

    Raises
    ------
    InputError
        When there are several for a column that has one an image, or it can't hold them.
    """
    if is_list(kind):
        text, value = json.dumps(list(dict.fromkeys(values)), ensure_ascii=False), "from_json(?, '[\"VARCHAR\"]')"
    elif len(values) == 1:
        text, value = values[0], "?"
    else:
        raise InputError(f"got {len(values)} values for {column!r}, which has one an image: name one")
    inner = sql_type(kind.value_type if is_list(kind) else kind)
    refused = InputError(f"got {', '.join(values)[:80]!r} for the column {column!r}, expected {inner} as it holds")
    try:
        query = f"SELECT {text_of('value', kind)} AS text FROM (SELECT CAST({value} AS {sql_type(kind)}) AS value)"
        found = database.query(query, [text])["text"][0].as_py()
    except QueryError:
        raise refused from None
    if not is_list(kind) and pa.types.is_floating(kind) and found == "nan":
        raise refused
    return str(found)


def values_as_read(database: Database, column: str, kind: pa.DataType, ids: Sequence[int]) -> dict[int, str | None]:
    """For each of ``ids`` that `collection` has, the value of ``column`` as a correction holds it."""
    rows = database.query(
        f"SELECT ImgId, {text_of(column, kind)} AS value FROM collection WHERE ImgId IN (SELECT unnest(?))", [list(ids)]
    )
    return dict(zip(rows["ImgId"].to_pylist(), rows["value"].to_pylist(), strict=True))


def new_value_note(database: Database, column: str, kind: pa.DataType, values: Sequence[str]) -> str:
    """That no image has one of ``values`` yet, and which similar one there is; empty for columns of single values."""
    if not pa.types.is_string(kind.value_type if is_list(kind) else kind):
        return ""
    name = quote_name(column)
    value = f"unnest({name})" if is_list(kind) else name
    known = database.query(
        f"SELECT value, count(*) AS n FROM (SELECT {value} AS value FROM collection) WHERE value IS NOT NULL GROUP BY 1"
    )
    labels = known["value"].to_pylist()
    new = [one for one in values if one not in set(labels)]
    if not new or 2 * len(labels) > sum(known["n"].to_pylist()):
        return ""
    hint = alike(new[0], labels) if len(labels) <= MOST_VALUES else ""
    return f"no image had the {column} {new[0]!r} before{f' ({hint})' if hint else ''}"


def corrections(reader: "Reader", *, undone: bool = False) -> pa.Table:
    """See `FeatureStore.corrections`."""
    rows = reader.query(
        'SELECT c.ImgId, i.ImgName, c."column", c."from", c."to", c."at", c.undone FROM corrections AS c '
        "LEFT JOIN (SELECT ImgId, min(ImgName) AS ImgName FROM images GROUP BY ImgId) AS i ON i.ImgId = c.ImgId "
        f'{"" if undone else "WHERE c.undone IS NULL"} ORDER BY c."at", c.ImgId, c."column"'
    )
    read = _read_now(reader.layout, rows) if len(rows) else []
    return rows.append_column(pa.field("as_read", pa.string()), pa.array(read, pa.string())).select(COLUMNS)


def _read_now(layout: Layout, rows: pa.Table) -> list[str | None]:
    """For each of the ``rows`` of corrections what is read today, None also where there is no such value any more."""
    ids, columns = rows["ImgId"].to_pylist(), rows["column"].to_pylist()
    with Database(as_read(layout), layout.root) as database:
        kinds = editable_columns(database)
        found = {name: values_as_read(database, name, kinds[name], ids) for name in set(columns) & kinds.keys()}
    return [found.get(name, {}).get(img_id) for img_id, name in zip(ids, columns, strict=True)]


def write_csv(reader: "Reader", output: Path, *, undone: bool = False, exact: bool = False) -> int:
    """See `FeatureStore.export_corrections`; raises `InputError` where ``output`` has the ending of another format."""
    format_of(output, None, {"csv": (".csv",)})
    rows = corrections(reader, undone=undone)
    refuse_target(output)
    try:
        write_atomic(output, as_csv(rows, exact=exact))
    except OSError as error:
        raise InputError(f"{str(output)!r} can't be written ({error.strerror}): name another file") from error
    return len(rows)


def as_csv(rows: pa.Table, *, exact: bool = False) -> bytes:
    """The result of `corrections` as CSV, times in ISO 8601; text as spreadsheets may have it unless ``exact``."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(rows.column_names)
    for row in rows.to_pylist():
        values = [value.isoformat() if hasattr(value, "isoformat") else value for value in row.values()]
        writer.writerow(safe_row(values, exact=exact))
    return sink.getvalue().encode()


def corrected(reader: "Reader", view: str, column: str) -> list[int]:
    """See `Reader.corrected`."""
    if TABLE not in reader.state.tables:
        return []
    query = f"SELECT ImgId, hash({quote_name(column)}) AS value FROM {quote_name(view)}"
    shown = _by_id(reader.query(query))
    # Only these: whether an image is in a view may depend on the labels of others.
    among = sorted(shown.keys() & set(reader.query(IN_FORCE)["ImgId"].to_pylist()))
    try:
        with Database(as_read(reader.layout), reader.path) as database:
            read = _by_id(database.query(query))
    except QueryError:  # a view of the user that can't do without the corrected values
        return among
    return [img_id for img_id in among if read.get(img_id) != shown[img_id]]


def _by_id(rows: pa.Table) -> dict[int, Any]:
    return dict(zip(rows["ImgId"].to_pylist(), rows["value"].to_pylist(), strict=True))


def kept_notes(layout: Layout) -> list[str]:
    """What an ingest says of corrections that it keeps, though what is read is another value than then."""
    if TABLE not in layout.state.tables:
        return []
    with Database(layout, layout.root) as database:
        rows = database.query("FROM corrections WHERE undone IS NULL ORDER BY ImgId")
        there = set(database.query("SELECT ImgId FROM collection")["ImgId"].to_pylist())
        columns = database.columns("collection") or []
    notes = [
        f"the collection has no column {name!r} any more: its corrections are kept and have no effect"
        for name in sorted(set(rows["column"].to_pylist()) - set(columns))
    ]
    changed = [
        (row, now)
        for row, now in zip(rows.to_pylist(), _read_now(layout, rows), strict=True)
        if row["column"] in columns and row["ImgId"] in there and row["from"] != now
    ]
    if changed:
        first, now = changed[0]
        what = "1 corrected value was" if len(changed) == 1 else f"{len(changed):,} corrected values were"
        notes.append(
            f"{what} read as another than before and stay as corrected, see `featurestore label list` (ImgId "
            f"{first['ImgId']}, {first['column']}: {first['from']!r} before, {now!r} now, {first['to']!r} shown)"
        )
    return notes
