"""Plain numbers between Arrow and NumPy by ways that don't load pandas; values of other types are not its business.

pyarrow imports pandas, where it is installed, in `pa.array`, `pa.scalar` and `to_numpy`: a quarter of a second and
40 MB in every process that pulls.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def to_numpy(column: pa.Array | pa.ChunkedArray) -> NDArray:
    """The values of a column of numbers or booleans that has no nulls; read-only, shared where it is one chunk."""
    if pa.types.is_boolean(column.type):
        return to_numpy(pc.cast(column, pa.uint8())).view(np.bool_)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    arrays = [np.from_dlpack(chunk) for chunk in chunks if len(chunk)]
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, column.type.to_pandas_dtype())


def from_numpy(values: NDArray) -> pa.Array:
    """A one-dimensional array of numbers (shared) or booleans (packed)."""
    kind = pa.from_numpy_dtype(values.dtype)
    packed = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(packed)])


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; pyarrow's own `combine_chunks` copies one that is a single chunk already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
