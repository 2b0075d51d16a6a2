"""The view over the parts of one table or one backbone, and the failing view that replaces it if a part is damaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from featurestore.catalog.duckdb_errors import words
from featurestore.catalog.recipe import AS_STORED, fill
from featurestore.catalog.sql_types import sql_type
from featurestore.errors import InputError, IntegrityError
from featurestore.storage.layout import Layout
from featurestore.storage.names import quote_name, quote_text
from featurestore.storage.parts import Part, check_once

# DuckDB does not verify checksums. Parts of up to this many bytes in total are verified before DuckDB reads them, which
# takes 40 ms; in larger tables a flipped bit is found by `verify`, and when vectors are read into a matrix.
CHECKED_BYTES = 64 * 2**20
EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class TableScan:
    """The rows of ``table``; for `embeddings`, those of the current revision of ``backbone``.

    Parameters
    ----------
    columns
        Those that other views need, by name; None if the table has them in any case.
    shown
        The SELECT of the view; ``{rows}`` stands for the stored rows, ``{embed_dim}`` for the length of a vector.
    """

    table: str
    backbone: str = ""
    columns: pa.Schema | None = None
    shown: str = AS_STORED


def part_file(root: Path, part: Part) -> Path:
    """The absolute path of a part of the store ``root``."""
    return root / part.path


def create_scan(
    connection: duckdb.DuckDBPyConnection, name: str, scan: TableScan, layout: Layout, root: Path | None
) -> None:
    """Create the view ``name`` of ``scan``; if a part is damaged, this view fails when it is read, not others.

    Parameters
    ----------
    root
        The store's folder. None for relative paths; checksums are then not verified.

    Raises
    ------
    IntegrityError
        When the length of the vectors can't be read.
    duckdb.Error
        When the view can't be created for another reason than its parts.
    """
    head = f"CREATE OR REPLACE VIEW {quote_name(name)} AS "
    try:
        _check_columns(scan, layout)
        if root is not None:
            _check(layout, [part for _, parts in _groups(scan, layout) for part in parts])
        connection.execute(head + (select_rows(scan, layout, root or Path()) or select_none(scan, layout)))
    except (duckdb.Error, IntegrityError, OSError) as error:
        why = quote_text(f"a part of {scan.table} is damaged, see `featurestore verify`: {words(error)}")
        connection.execute(head + shown(scan, layout, _failing(_columns_or_none(scan, layout), why)))


def shown(scan: TableScan, layout: Layout, rows: str) -> str:
    """The SELECT of the view of ``scan`` over ``rows``, the SELECT of the stored rows."""
    values = {"rows": f"({rows})"}
    if "{embed_dim}" in scan.shown:  # needs the manifest: read it only where the text uses it
        values["embed_dim"] = str(layout.dim(scan.backbone))
    return fill(scan.shown, values)


def select_none(scan: TableScan, layout: Layout) -> str:
    """The SELECT of the view of ``scan`` without any row."""
    return shown(scan, layout, empty(_columns_of(scan, layout)))


def empty(schema: pa.Schema) -> str:
    """A SELECT with the columns of ``schema`` and no row."""
    return f"SELECT {_columns('NULL', schema)} WHERE false"


def select_rows(scan: TableScan, layout: Layout, root: Path) -> str:
    """The SELECT of the view of ``scan``, whose parts lie below ``root``; empty where there are no parts."""
    # The values come from the state, not from the path, as DuckDB reads it: a folder above may be called `backbone=x`.
    rows = " UNION ALL ".join(
        f"SELECT *{_columns_beside(values, root, parts[0])} "
        f"FROM read_parquet([{', '.join(quote_text(str(part_file(root, part))) for part in parts)}], "
        f"hive_partitioning = false{', filename = ' + quote_text('part') if values else ''})"
        for values, parts in _groups(scan, layout)
        if parts
    )
    return rows and shown(scan, layout, rows)


def _columns_beside(values: Mapping[str, str], root: Path, part: Part) -> str:
    """What is selected beside the columns of the files: ``values``, and the file relative to the store."""
    if not values:
        return ""
    above = len(str(part_file(root, part))) - len(part.path)
    shorter = f" REPLACE (substr(part, {above + 1}) AS part)"
    return shorter + "".join(f", {quote_text(value)} AS {quote_name(column)}" for column, value in values.items())


def _groups(scan: TableScan, layout: Layout) -> list[tuple[dict[str, str], list[Part]]]:
    """The parts to read, grouped by the values of the columns that the files don't hold."""
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
    """The columns of the view; for embeddings also `part`, the file that holds the vector, relative to the store."""
    schema = layout.schema(scan.table)
    return schema.append(pa.field("part", pa.string())) if scan.table == EMBEDDINGS else schema


def _columns_or_none(scan: TableScan, layout: Layout) -> pa.Schema:
    """The columns of the view; those that others need, or none, if the manifest is damaged."""
    try:
        _check_columns(scan, layout)
        return _columns_of(scan, layout)
    except IntegrityError:
        return pa.schema([("damaged", pa.string())]) if scan.columns is None else scan.columns


def _check_columns(scan: TableScan, layout: Layout) -> None:
    missing = {} if scan.columns is None else set(scan.columns.names) - set(layout.schema(scan.table).names)
    if missing:
        raise IntegrityError(f"the table {scan.table} has no column {min(missing)!r}: restore its manifest from a copy")


def _check(layout: Layout, parts: Sequence[Part]) -> None:
    layout.fetch(parts)
    if sum(part.size_bytes for part in parts) <= CHECKED_BYTES:
        for part in parts:
            check_once(part, layout.root)


def _failing(schema: pa.Schema, why: str) -> str:
    """A SELECT with the columns of ``schema`` that fails in any query.

    Each column must fail too: with a constant column such as NULL, DuckDB would infer that a join on it is empty, and
    not evaluate the condition.
    """
    return f"SELECT {_columns(f'error({why})', schema)} WHERE error({why}) IS NULL"


def _columns(value: str, schema: pa.Schema) -> str:
    return ", ".join(f"{value}::{_sql_type_or_text(field.type)} AS {quote_name(field.name)}" for field in schema)


def _sql_type_or_text(kind: pa.DataType) -> str:
    """VARCHAR for a type without an SQL type, so that such a column, of an older version, breaks no other table."""
    try:
        return sql_type(kind)
    except InputError:
        return "VARCHAR"
