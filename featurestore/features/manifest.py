"""Checks a bundle's manifest against its files; the manifest is untrusted, even if it matches its lock."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_SCHEMA = pa.schema([("ImgId", pa.int32()), ("content_hash", pa.string()), ("duplicate_group", pa.int64())])
FIELDS: dict[str, type] = {
    "rows": int,
    "vectors": list,
    "dims": list,
    "missing": int,
    "revision": str,
    "state": str,
    "synthetic": bool,
}


def check_manifest(manifest: dict[str, Any], data: pq.ParquetFile, rows: pq.ParquetFile, *, size: int) -> None:
    """Compare a manifest with the footers of its files, before memory is allocated for the rows that it lists.

    Parameters
    ----------
    data, rows
        The file of the features, and that of each row's image.
    size
        Size of the file of ``data`` in bytes: an upper limit for its values, which are not compressed.

    Raises
    ------
    ValueError
        When they don't match; the message says why.
    """
    bad = [name for name, kind in FIELDS.items() if type(manifest.get(name)) is not kind]
    if bad:
        raise ValueError(f"missing or invalid: {', '.join(bad)}")
    columns, dims = manifest["vectors"], manifest["dims"]
    if not columns or len(columns) != len(dims) or not all(_is_dim(dim) for dim in dims):
        raise ValueError("it doesn't list the vectors of each backbone")
    schema = data.schema_arrow
    for column, (_, dim) in zip(columns, dims, strict=True):
        if schema.names.count(column) != 1 or not _holds_vectors(schema.field(column).type, dim):
            raise ValueError(f"the column {str(column)[:80]!r} doesn't hold vectors of {dim} floats")
    label = manifest.get("label")
    if label is not None and (label not in schema.names or label in columns):
        raise ValueError(f"there is no column {str(label)[:80]!r} for its label")
    if not rows.schema_arrow.equals(ROWS_SCHEMA):
        raise ValueError("its rows have other columns than a bundle's")
    count = manifest["rows"]
    if not count == data.metadata.num_rows == rows.metadata.num_rows or manifest["missing"] < 0:
        raise ValueError(f"it lists {count} rows, the files {data.metadata.num_rows} and {rows.metadata.num_rows}")
    _check_plain(data.metadata, size)
    if not 0 <= count * 4 * sum(dim for _, dim in dims) <= size:
        raise ValueError(f"{count} rows of such vectors take more than the {size} bytes of the file")


def _check_plain(metadata: pq.FileMetaData, size: int) -> None:
    """Refuse compressed or repeated values, which take more memory than their bytes; a bundle is written without."""
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            plain = column.compression == "UNCOMPRESSED" and not column.has_dictionary_page
            if not plain or column.total_uncompressed_size > size:
                raise ValueError("the values of the features are compressed")


def _is_dim(entry: Any) -> bool:
    return isinstance(entry, list) and [type(value) for value in entry] == [str, int] and entry[1] > 0


def _holds_vectors(kind: pa.DataType, dim: int) -> bool:
    return bool(pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32() and kind.list_size == dim)
