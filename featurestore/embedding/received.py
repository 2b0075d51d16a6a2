"""Reads a part of a shard that was computed elsewhere, and checks all of it; it stores nothing."""

import hashlib
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from featurestore.embedding.receipt import PARTS, Receipt, damaged
from featurestore.embedding.staging import to_matrix
from featurestore.embedding.vectors import faults
from featurestore.errors import reason
from featurestore.files import read_file, why
from featurestore.storage.parts import Part
from featurestore.storage.schemas import embeddings_schema


def read_received(receipt: Receipt, part: Part, extractions: Collection[str]) -> pa.Table:
    """The rows of a part that ``receipt`` lists, as in `embeddings_schema`.

    Parameters
    ----------
    extractions
        The ids of the known extraction records: each row must name one of them.

    Raises
    ------
    IntegrityError
        When it is missing, its bytes are not those that the receipt says, or they are not valid vectors.
    """
    path = receipt.folder / PARTS / part.path
    content = _bytes(path, part)
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
            _check_footer(file, part, embeddings_schema(receipt.spec.embed_dim))
            rows = file.read()
        _check_rows(rows, part, extractions)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, reason(error)[:200]) from error
    return rows.replace_schema_metadata(None)


def _bytes(path: Path, part: Part) -> bytes:
    try:
        content = read_file(path, limit=part.size_bytes)
    except OSError as error:
        raise damaged(path, why(error)) from error
    if len(content) != part.size_bytes or hashlib.sha256(content).hexdigest() != part.sha256:
        raise damaged(path, "its bytes don't match its checksum")
    return content


def _check_footer(file: pq.ParquetFile, part: Part, schema: pa.Schema) -> None:
    """Refuse a file that would take more memory than its bytes: other columns, compressed or repeated values."""
    metadata = file.metadata
    if metadata.num_rows != part.rows or not file.schema_arrow.equals(schema):
        raise ValueError("its columns or its number of rows are not those of a part")
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            plain = column.compression == "UNCOMPRESSED" and not column.has_dictionary_page
            if not plain or column.total_uncompressed_size > part.size_bytes:
                raise ValueError("its values are compressed")


def _check_rows(rows: pa.Table, part: Part, extractions: Collection[str]) -> None:
    if len(rows) != part.rows or any(column.null_count for column in rows.columns):
        raise ValueError("rows or values are missing")
    ends = pc.min_max(rows["ImgId"]).as_py()
    if (ends["min"], ends["max"]) != (part.first_id, part.last_id):
        raise ValueError("its ids are not those of its receipt")
    if not set(rows["extraction"].unique().to_pylist()) <= set(extractions):
        raise ValueError("it does not say what computed its vectors")
    if faults(to_matrix(rows)):
        raise ValueError("it holds vectors that can't be stored")
