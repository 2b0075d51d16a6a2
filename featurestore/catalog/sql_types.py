"""Maps the type of an Arrow column to the name of DuckDB's type."""

from functools import cache

import duckdb
import pyarrow as pa

from featurestore.errors import InputError, reason
from featurestore.storage.schemas import EMBEDDINGS

# Types of the store's own tables, for which no connection to DuckDB is needed.
OWN_TYPES = {
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.string(): "VARCHAR",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
    EMBEDDINGS.field("embedding").type: "FLOAT[]",
}


@cache
def sql_type(kind: pa.DataType) -> str:
    """The name of DuckDB's type for the type ``kind`` of an Arrow column.

    Raises
    ------
    InputError
        When DuckDB has no such type.
    """
    if kind in OWN_TYPES:
        return OWN_TYPES[kind]
    try:
        with duckdb.connect(":memory:") as connection:
            connection.register("empty", pa.schema([("x", kind)]).empty_table())
            [(_, name, *_)] = connection.execute("DESCRIBE empty").fetchall()
            connection.execute(f"SELECT NULL::{name} AS x WHERE false")
    except (duckdb.Error, pa.ArrowException) as error:
        raise InputError(f"DuckDB has no type for {kind} ({reason(error)})") from error
    return str(name)
