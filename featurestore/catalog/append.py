"""Appends rows to tables of other programs, such as the results of a bench; rows are added, never changed."""

from collections.abc import Mapping, Sequence
from io import BytesIO

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.catalog.recipe import own_names
from featurestore.catalog.sql_types import sql_type
from featurestore.catalog.writer import open_writer
from featurestore.errors import InputError, reason
from featurestore.storage.names import RESERVED, check_identifier
from featurestore.storage.objects import Place
from featurestore.system import is_portable


def append(place: Place, tables: Mapping[str, pa.Table], *, wait_seconds: float) -> None:
    """See `FeatureStore.append`."""
    stored = {}
    for name, rows in tables.items():
        _check(name, rows.column_names)
        stored[name] = _as_stored(name, rows.schema)
    with open_writer(place, wait_seconds=wait_seconds, purpose="append") as writer:
        layout = writer.layout
        for name in tables:
            if name in own_names(writer.state.collection).tables:
                raise InputError(f"{name!r} is the name of one of the store's own tables: use another name")
        with writer.commit() as commit:
            for name, rows in tables.items():
                if name in layout.tables and not layout.schema(name).equals(stored[name]):
                    raise InputError(
                        f"the table {name!r} has the columns {_listed(layout.schema(name))}, "
                        f"got {_listed(rows.schema)}: "
                        "use another name for rows with other columns"
                    )
                commit.append(name, rows)


def _listed(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)


def _as_stored(name: str, schema: pa.Schema) -> pa.Schema:
    """The schema that rows of ``schema`` have after they were written and read back.

    Raises
    ------
    InputError
        When a column has a type that Parquet or DuckDB can't store: the table would be unreadable.
    """
    stored = []
    for field in schema:
        column = pa.schema([field])
        try:
            if _has_duration(field.type):  # Parquet has no such type: it would be read back as an integer
                raise InputError("Parquet has no type for a duration")
            sql_type(field.type)
            file = BytesIO()
            pq.write_table(column.empty_table(), file)
            stored.append(pq.read_schema(file).field(0))
        except (InputError, pa.ArrowException) as error:
            raise InputError(
                f"the column {field.name!r} of the table {name!r} is of the type {field.type}, which can't be stored "
                f"({reason(error)[:160]}): cast it to another type"
            ) from error
    return pa.schema(stored)


def _has_duration(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _has_duration(kind.value_type)
    return pa.types.is_duration(kind) or any(_has_duration(kind.field(place).type) for place in range(kind.num_fields))


def _check(name: str, columns: Sequence[str]) -> None:
    """Refuse an invalid name or invalid columns; whether the name is already in use is checked by the commit."""
    check_identifier(name, "table")
    if name in RESERVED or name == "embeddings":
        raise InputError(f"{name!r} is the name of one of the store's own tables: use another name")
    if not is_portable(name):
        raise InputError(f"got the table name {name!r}, which no folder can have on Windows: use another name")
    if not columns or len({column.lower() for column in columns}) < len(columns):
        raise InputError(f"got the columns {list(columns)} for the table {name!r}, expected one or more, no name twice")
