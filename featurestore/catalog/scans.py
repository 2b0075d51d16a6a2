"""The SELECT over the parts of one table, or of one backbone, and what takes its place where a part is damaged."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.catalog.duckdb_errors import words
from featurestore.catalog.sql_types import sql_type
from featurestore.errors import InputError, IntegrityError
from featurestore.storage.layout import Layout
from featurestore.storage.names import quote_name, quote_text
from featurestore.storage.parts import Part, check_once

# DuckDB does not look at checksums. Tables and backbones of up to so many bytes are compared with theirs before it
# reads them, which takes 40 ms; in larger ones a flipped bit is found by `verify` and by whatever pulls vectors.
CHECKED_BYTES = 64 * 2**20
EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class TableScan:
    """The rows of ``table``, or of `embeddings` those of the current revision of ``backbone``."""

    table: str
    backbone: str = ""


def part_file(root: Path, part: Part) -> Path:
    """The file of a part of the store ``root``."""
    return root / part.path


def create_scan(
    connection: duckdb.DuckDBPyConnection, name: str, scan: TableScan, layout: Layout, root: Path | None
) -> None:
    """Create the view ``name`` of ``scan``; a damaged one fails when it is read, so that the others stay readable.

    Parameters
    ----------
    root
        The store's folder. None for paths relative to it: then no part is compared with its checksum.
    """
    try:
        if root is not None:
            _check(layout, [part for _, parts in _groups(scan, layout) for part in parts])
        select = select_rows(scan, layout, root or Path()) or select_none(scan, layout)
        connection.execute(f"CREATE OR REPLACE VIEW {quote_name(name)} AS {select}")
    except (duckdb.Error, IntegrityError, OSError) as error:
        why = quote_text(f"a part of {scan.table} is damaged, see `featurestore verify`: {words(error)}")
        schema = _columns_or_none(scan, layout)
        connection.execute(f"CREATE OR REPLACE VIEW {quote_name(name)} AS {_failing(schema, why)}")


def select_none(scan: TableScan, layout: Layout) -> str:
    """A SELECT with the columns of ``scan`` and no row."""
    return f"SELECT {_columns('NULL', _columns_of(scan, layout))} WHERE false"


def select_rows(scan: TableScan, layout: Layout, root: Path) -> str:
    """The SELECT of the rows of ``scan``, whose parts lie below ``root``; empty where there are no parts."""
    # The values come from the state, not from the path, as DuckDB reads it: a folder above may be called `backbone=x`.
    return " UNION ALL ".join(
        f"SELECT *{''.join(f', {quote_text(value)} AS {quote_name(column)}' for column, value in values.items())} "
        f"FROM read_parquet([{', '.join(quote_text(str(part_file(root, part))) for part in parts)}], "
        f"hive_partitioning = false{', filename = ' + quote_text('part') if values else ''})"
        for values, parts in _groups(scan, layout)
        if parts
    )


def _groups(scan: TableScan, layout: Layout) -> list[tuple[dict[str, str], list[Part]]]:
    """The parts to read, with the values of the columns that are not in them."""
    if scan.table != EMBEDDINGS:
        return [({}, layout.parts(scan.table))]
    if scan.backbone:
        revision = layout.state.revisions[scan.backbone]
        return [({"backbone": scan.backbone, "revision": revision}, layout.embedding_parts(scan.backbone))]
    return [
        ({"backbone": backbone, "revision": revision}, layout.revision_parts(backbone, revision))
        for backbone, revision in layout.revisions()
    ]


def _columns_of(scan: TableScan, layout: Layout) -> pa.Schema:
    """The columns of the view; for embeddings one more, the part that a vector lies in."""
    schema = layout.schema(scan.table)
    return schema.append(pa.field("part", pa.string())) if scan.table == EMBEDDINGS else schema


def _columns_or_none(scan: TableScan, layout: Layout) -> pa.Schema:
    """The columns of the view; of a table whose manifest is damaged none is known."""
    try:
        return _columns_of(scan, layout)
    except IntegrityError:
        return pa.schema([("damaged", pa.string())])


def _check(layout: Layout, parts: Sequence[Part]) -> None:
    layout.bring(parts)
    if sum(part.size_bytes for part in parts) <= CHECKED_BYTES:
        for part in parts:
            check_once(part, layout.root)


def _failing(schema: pa.Schema, why: str) -> str:
    """A SELECT with the columns of ``schema`` that fails whatever is asked of it.

    Each column must fail too: of a constant one, such as NULL, DuckDB concludes that a join over it is empty, and never
    evaluates the condition.
    """
    return f"SELECT {_columns(f'error({why})', schema)} WHERE error({why}) IS NULL"


def _columns(value: str, schema: pa.Schema) -> str:
    return ", ".join(f"{value}::{_sql_type_or_text(field.type)} AS {quote_name(field.name)}" for field in schema)


def _sql_type_or_text(kind: pa.DataType) -> str:
    """A column that an older version let in, of a type that no view can have, leaves the other tables readable."""
    try:
        return sql_type(kind)
    except InputError:
        return "VARCHAR"
