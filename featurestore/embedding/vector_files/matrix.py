"""Makes the matrix of vectors from columns of a table: numbered columns, lists, tensors, lists as text."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.embedding.vector_files.columns import is_lists, is_number_type, is_text
from featurestore.embedding.vector_files.imported import float32, from_bfloat16
from featurestore.errors import EmbeddingError

# How bfloat16 is stored in Arrow, which has no type of its own for it.
BFLOAT16 = pa.binary(2)
# Maximum characters of one vector as text: about 100,000 numbers.
TEXT_LIMIT = 4 << 20


def from_numbered(columns: Sequence[pa.ChunkedArray], names: Sequence[str], file: Path) -> NDArray[np.float32]:
    """One column for each dimension, as ``(n, d)`` float32."""
    for column, name in zip(columns, names, strict=True):
        if not is_number_type(column.type):
            raise EmbeddingError(f"{file}: the column {name!r} holds {column.type}, expected numbers")
    return float32(np.column_stack([column.to_numpy() for column in columns]), file)


def from_lists(column: pa.ChunkedArray, name: str, file: Path) -> NDArray[np.float32]:
    """One column of lists, nested lists ``(1, d)``, tensors or lists as text, as ``(n, d)`` float32."""
    kind = column.type
    if is_text(kind):
        return _from_texts(column, name, file)
    values = column.combine_chunks()
    if isinstance(values, pa.ChunkedArray):  # what combine_chunks makes of no chunks
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], kind)
    shape = [len(values)]
    values = _storage(values)
    if not is_lists(values.type):
        raise EmbeddingError(f"{file}: the column {name} holds {kind}, expected lists of numbers")
    while is_lists(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if values.null_count or len(lengths) != 1 or lengths[0] is None:
            raise EmbeddingError(f"{file}: the embeddings have the lengths {lengths[:5]}, expected one length for all")
        shape.append(lengths[0])
        values = _storage(values.flatten())
    if isinstance(kind, pa.FixedShapeTensorType):
        shape = [shape[0], *kind.shape]
    if values.type == BFLOAT16:
        X = _from_pairs(values, f"{file}: the column {name}")
    elif is_number_type(values.type):
        X = values.to_numpy(zero_copy_only=False)
    else:
        raise EmbeddingError(f"{file}: the column {name} holds {kind}, expected lists of numbers")
    return float32(in_rows(X.reshape(shape), f"{file}: the column {name}"), file)


def in_rows(X: NDArray, where: str) -> NDArray:
    """``(n, d)`` from ``(n, d)`` or, with axes of length 1 around it, as in ``(n, 1, d)``.

    Raises
    ------
    EmbeddingError
        When there is no such axis, or more than one that is longer than 1.
    """
    if X.ndim < 2 or sum(size != 1 for size in X.shape[1:]) > 1:
        raise EmbeddingError(f"{where} has the shape {X.shape}, expected (n, d) and n ids or names")
    return X.reshape(len(X), -1) if X.size else X.reshape(len(X), 0)


def _from_pairs(values: pa.Array, where: str) -> NDArray[np.float32]:
    """Two bytes each as bfloat16."""
    if values.null_count:
        raise EmbeddingError(f"{where} lacks {values.null_count} values: fill them in")
    halves = np.frombuffer(values.buffers()[1] or b"", "<u2", count=len(values), offset=2 * values.offset)
    return from_bfloat16(halves)


def _storage(values: pa.Array) -> pa.Array:
    return values.storage if isinstance(values, pa.ExtensionArray) else values


def _from_texts(values: pa.ChunkedArray, name: str, file: Path) -> NDArray[np.float32]:
    rows: list[NDArray[np.float32]] = []
    for number, text in enumerate(values, 1):
        row = _from_text(text.as_py() or "")
        if row is None:
            raise EmbeddingError(
                f"{file}: the column {name} holds {values.type}, and row {number} ({str(text)[:40]!r}) is no list of "
                "numbers as in [0.5, 1.25]"
            )
        if rows and len(row) != len(rows[0]):
            raise EmbeddingError(
                f"{file}: the embeddings have the lengths {[len(rows[0]), len(row)]}, expected one length for all"
            )
        rows.append(row)
    return float32(np.stack(rows) if rows else np.empty((0, 0)), file)


def _from_text(text: str) -> NDArray[np.float32] | None:
    """One vector of a list as JSON, or as NumPy prints it, without commas; None if it is neither."""
    text = text.strip()
    if not (text.startswith("[") and text.endswith("]")) or len(text) > TEXT_LIMIT:
        return None
    try:
        row: list[Any] = json.loads(text) if "," in text else list(map(float, text[1:-1].split()))
        if not set(map(type, row)) <= {int, float}:
            return None
        with np.errstate(over="ignore"):
            return np.array(row, np.float64).astype(np.float32)
    except (ValueError, OverflowError, RecursionError):
        return None
