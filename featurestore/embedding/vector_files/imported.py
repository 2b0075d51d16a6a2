"""The vectors of a file with what names their images, and the check that they can be stored."""

import csv
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.embedding.vectors import faults
from featurestore.errors import EmbeddingError
from featurestore.storage.schemas import MAX_ID

# Errors that the libraries raise on damaged files.
DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError, zlib.error, csv.Error)


@dataclass(frozen=True)
class ImportedVectors:
    """Vectors, and what names the image of each: keys, numbers, or both.

    Parameters
    ----------
    X
        ``(n, d)`` float32.
    keys
        ``n`` names of images as the file has them: paths, file names, stems or ids, as text.
    numbers
        ``(n,)`` int64 from 0 to 2,147,483,647: the ImgIds.
    listed
        Whether the numbers come from a list that does not say whether they are ImgIds or file names.
    notes
        What was guessed, one sentence each.
    """

    X: NDArray[np.float32]
    keys: Sequence[str] | None
    numbers: NDArray[np.int64] | None
    listed: bool = False
    notes: tuple[str, ...] = ()

    def name(self, row: int) -> str:
        """What names the image of a row, for messages."""
        return self.keys[row] if self.keys is not None else str(self.numbers[row]) if self.numbers is not None else ""


def is_number(text: str) -> bool:
    """Whether ``text`` is made of ASCII digits only."""
    return text.isascii() and text.isdigit()


def float32(X: NDArray, file: Path) -> NDArray[np.float32]:
    """``X`` ``(n, d)`` of any numbers as float32 in rows; refuses what is not numbers.

    Raises
    ------
    EmbeddingError
        When there is no value, or they are not numbers.
    """
    if not X.size:
        raise EmbeddingError(f"{file} holds no embeddings: got the shape {X.shape}")
    if X.dtype.kind not in "fiu":
        raise EmbeddingError(f"{file}: got {X.dtype} values, expected numbers")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, np.float32)


def from_bfloat16(X: NDArray) -> NDArray[np.float32]:
    """Two bytes each, of any dtype, read as little-endian bfloat16: the upper half of a float32."""
    return (X.view("<u2").astype(np.uint32) << 16).view(np.float32)


def check(vectors: ImportedVectors, file: Path) -> ImportedVectors:
    """Return ``vectors``, all of which can be stored.

    Raises
    ------
    EmbeddingError
        When a vector can't be stored or a number is no ImgId, with its row or name.
    """
    numbers = vectors.numbers
    if numbers is not None and (numbers.min() < 0 or numbers.max() > MAX_ID):
        raise EmbeddingError(f"{file}: got ids from {numbers.min()} to {numbers.max()}, expected 0 to {MAX_ID}")
    for row, key in enumerate(vectors.keys or ()):
        if not key.strip() or any("\ud800" <= letter <= "\udfff" for letter in key):  # half of a character
            raise EmbeddingError(f"{file}: got the image name {key!r} in row {row + 1}, expected one for each vector")
    bad = faults(vectors.X)
    if bad:
        row, why = next(iter(bad.items()))
        raise EmbeddingError(
            f"{file}: {len(bad)} of {len(vectors.X)} vectors can't be stored, first {vectors.name(row)}: {why}; "
            "nothing was imported"
        )
    return vectors
