"""What names the image of each row: text and numbers from columns of any fitting type; no vectors."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.embedding.vector_files.columns import is_number_type, is_text
from featurestore.embedding.vector_files.imported import is_number
from featurestore.errors import EmbeddingError
from featurestore.storage.schemas import MAX_ID

# Beyond, a float64 has no whole number of its own.
LARGEST_FLOAT = 2**53
# Digits of a number that fits 63 bits.
LONGEST_NUMBER = 18


def texts(column: pa.ChunkedArray, name: str, file: Path) -> list[str]:
    """The column as text: names as they are, whole numbers (floating-point ones too) without a fraction.

    Raises
    ------
    EmbeddingError
        When a value is missing, a fraction or not UTF-8, or the type is no text and no number.
    """
    if isinstance(column.type, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py() + 1
        raise EmbeddingError(f"{file}: row {row} has no {name}: fill it in")
    if pa.types.is_floating(kind):
        return _whole_texts(column, name, file)
    if is_text(kind) or is_number_type(kind):
        found = list(map(str, column.to_pylist()))
    elif pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        found = [decoded(value, f"{file}: row {row} of {name}") for row, value in enumerate(column.to_pylist(), 1)]
    else:
        raise EmbeddingError(f"{file}: got the column {name} as {kind}, expected text or whole numbers")
    if "" in found:
        raise EmbeddingError(f"{file}: row {found.index('') + 1} has no {name}: fill it in")
    return found


def decoded(value: bytes, where: str) -> str:
    """``value`` as UTF-8 text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise EmbeddingError(f"{where} holds the bytes {value[:40]!r}, expected text in UTF-8") from None


def _whole_texts(column: pa.ChunkedArray, name: str, file: Path) -> list[str]:
    values = np.asarray(column.to_pylist(), np.float64)
    if np.isnan(values).any():
        raise EmbeddingError(f"{file}: row {int(np.isnan(values).argmax()) + 1} has no {name}: fill it in")
    fraction = (np.abs(values) >= LARGEST_FLOAT) | (values % 1 != 0)
    if fraction.any():
        row = int(fraction.argmax())
        raise EmbeddingError(
            f"{file}: got the column {name} as {column.type} with {values[row]:g} in row {row + 1}, "
            "expected whole numbers"
        )
    return list(map(str, values.astype(np.int64).tolist()))


def whole(text: str) -> int | None:
    """The whole number that ``text`` is, also as ``7.0`` or with a minus; None if it is none."""
    number, _, fraction = text.strip().partition(".")
    digits = number.removeprefix("-")
    if not is_number(digits) or len(digits.lstrip("0")) > LONGEST_NUMBER or fraction.strip("0"):
        return None
    return int(number)


def numbers_of(column: pa.ChunkedArray, found: list[str], file: Path) -> NDArray[np.int64] | None:
    """The ImgIds ``(n,)`` in a ``column`` whose texts are ``found``; None if not all are whole numbers.

    Raises
    ------
    EmbeddingError
        When a number is no ImgId.
    """
    if pa.types.is_integer(column.type) and len(column):
        bounds: dict[str, Any] = pc.min_max(column).as_py()
        if bounds["min"] < 0 or bounds["max"] > MAX_ID:
            raise EmbeddingError(f"{file}: got ids from {bounds['min']} to {bounds['max']}, expected 0 to {MAX_ID}")
    numbers = [whole(text) for text in found]
    known = [number for number in numbers if number is not None]
    return np.array(known, np.int64) if len(known) == len(numbers) else None
