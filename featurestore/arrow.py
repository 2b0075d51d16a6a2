"""Converts numbers and booleans between Arrow and NumPy without loading pandas, and writes results piece by piece.

Where pandas is installed, pyarrow imports it in `pa.array`, `pa.scalar` and `to_numpy`: a quarter of a second and
40 MB in every process that reads vectors.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.errors import IntegrityError


def to_numpy(column: pa.Array | pa.ChunkedArray) -> NDArray:
    """The values ``(n,)`` of a numeric or boolean column without nulls; read-only, not copied where it is one chunk.

    Raises
    ------
    IntegrityError
        When there are nulls: a file holds what this package never writes.
    """
    if column.null_count:
        raise IntegrityError(
            f"{column.null_count} of {len(column)} values are missing in a column that has one in each row: a file was "
            "edited; restore it from a copy"
        )
    if pa.types.is_boolean(column.type):
        return to_numpy(pc.cast(column, pa.uint8())).view(np.bool_)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    arrays = [np.from_dlpack(chunk) for chunk in chunks if len(chunk)]
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, column.type.to_pandas_dtype())


def from_numpy(values: NDArray) -> pa.Array:
    """A one-dimensional array as an Arrow array: numbers share memory with ``values``, booleans are packed."""
    kind = pa.from_numpy_dtype(values.dtype)
    packed = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(packed)])


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; unlike pyarrow's `combine_chunks` it does not copy a column of a single chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def as_stream(reader: pa.RecordBatchReader) -> Iterator[bytes]:
    """The batches of ``reader`` in Arrow's IPC stream format, piece by piece."""
    sink = PieceSink()
    with pa.ipc.new_stream(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


class PieceSink(io.RawIOBase):
    """A file that gives away what was written so far, and only knows how much that was."""

    def __init__(self) -> None:
        super().__init__()
        self._blocks: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        self._blocks.append(bytes(content))
        self._size += len(self._blocks[-1])
        return len(self._blocks[-1])

    def tell(self) -> int:
        return self._size

    def taken(self) -> bytes:
        """What was written since the last time."""
        content = b"".join(self._blocks)
        self._blocks = []
        return content
