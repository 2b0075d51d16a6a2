"""Tables of other programs beside the store's own, such as the results of a bench: rows are added, never changed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from featurestore.errors import InputError
from featurestore.layout import read_layout
from featurestore.names import RESERVED, check_identifier
from featurestore.schemas import CORE_TABLES
from featurestore.writer import open_writer


def append(root: Path, tables: Mapping[str, pa.Table], *, wait_seconds: float) -> None:
    """See `FeatureStore.append`."""
    for name, rows in tables.items():
        _check(name, rows.column_names)
    with open_writer(root, wait_seconds=wait_seconds, purpose="append") as writer:
        schemas = read_layout(root, writer.state).schemas
        with writer.commit() as commit:
            for name, rows in tables.items():
                if name in schemas and not schemas[name].equals(rows.schema):
                    raise InputError(
                        f"the table {name!r} has the columns {schemas[name].names}, got {rows.schema.names}: "
                        "use another name for rows of another shape"
                    )
                commit.append(name, rows)


def _check(name: str, columns: Sequence[str]) -> None:
    """Refuse what can't be a table beside the store's own; whether the name is free, the commit looks."""
    check_identifier(name, "table")
    if name in CORE_TABLES or name in RESERVED:
        raise InputError(f"{name!r} can't be a table of your own, it is one of the store: use another name")
    if not columns or len({column.lower() for column in columns}) < len(columns):
        raise InputError(f"got the columns {list(columns)} for the table {name!r}, expected one or more, no name twice")
