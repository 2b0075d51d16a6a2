"""Reads NumPy's files, npy and npz, and lists of ids; nothing is unpickled."""

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.embedding.vector_files.columns import NAMES, VECTORS, first
from featurestore.embedding.vector_files.imported import float32, from_bfloat16, is_number
from featurestore.embedding.vector_files.keys import decoded
from featurestore.embedding.vector_files.matrix import in_rows
from featurestore.errors import InputError, reason
from featurestore.files import open_file

# The arrays of an npz that hold vectors and ids, the first that is there; `export` writes X, ids and about.
MATRICES = ("X", *VECTORS, "vectors")
IDS = ("ids", "names", "ImgId", *NAMES[:-1], "keys", "paths", "filenames", "file_names", "image_paths", "urls")
EXPORTED = "about"
# An array in an archive may be this many times larger than its compressed bytes, beyond the first megabyte.
RATIO, FREE = 100, 1 << 20
# How NumPy names a type that it does not know, as bfloat16 is.
TWO_BYTES = np.dtype("V2")


@dataclass(frozen=True)
class Listed:
    """A list of ids as text; ``numbers`` says whether all were whole numbers."""

    texts: list[str]
    numbers: bool


def read_matrix(file: Path) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The vectors ``(n, d)`` of an npy, and what was guessed."""
    return as_matrix(load_array(file), str(file))


def as_matrix(X: NDArray[Any], where: str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """An array as vectors ``(n, d)``, and what was guessed; two unknown bytes are bfloat16."""
    rows = in_rows(X, where)
    if rows.dtype == TWO_BYTES:
        return from_bfloat16(np.ascontiguousarray(rows)), ("values of 2 bytes are read as bfloat16",)
    return float32(rows, Path(where)), ()


def read_npz(file: Path) -> tuple[NDArray[np.float32], Listed | None, bool, tuple[str, ...]]:
    """The vectors and the ids of an npz (None if it has none), whether `export` wrote it, and what was guessed.

    Raises
    ------
    InputError
        When it can't be read, has no array of vectors, or one that is far larger than the file.
    """
    with _loaded(file) as archive:
        if isinstance(archive, np.ndarray):
            raise InputError(f"{file} is one array, expected an archive as np.savez writes it: name it .npy")
        matrix, ids = first(archive.files, MATRICES), first(archive.files, IDS)
        if matrix is None:
            raise InputError(
                f"{file} has the arrays {', '.join(archive.files[:8])}; expected {' or '.join(MATRICES)}, and "
                "ids or names"
            )
        X, notes = as_matrix(_member(archive, matrix, file), str(file))
        if matrix != "X":
            notes = (f"the vectors are in the array `{matrix}`", *notes)
        if ids is None:
            return X, None, False, notes
        if ids != "ids":
            notes = (*notes, f"the images are named by the array `{ids}`")
        listed = as_list(_member(archive, ids, file), f"{file}: {ids}")
        return X, listed, EXPORTED in archive.files, notes


def _member(archive: Any, name: str, file: Path) -> NDArray[Any]:
    packed: Mapping[str, zipfile.ZipInfo] = archive.zip.NameToInfo
    info = packed.get(name) or packed[f"{name}.npy"]
    if info.file_size > FREE + RATIO * info.compress_size:
        raise InputError(
            f"{file}: the array {name} grows from {info.compress_size:,} to {info.file_size:,} bytes, expected at most "
            f"{RATIO} times as many: write it without compression"
        )
    try:
        array = archive[name]
    except Exception as error:  # NumPy parses the header as Python: a damaged one may raise any error
        raise _unreadable(file, error) from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{file}: {name} is no array, expected one as np.savez writes it")
    return array


def load_array(file: Path) -> NDArray[Any]:
    """The array of an npy."""
    with _loaded(file) as array:
        if not isinstance(array, np.ndarray):
            raise InputError(f"{file} is an archive of several arrays: name it .npz")
        return array


@contextmanager
def _loaded(file: Path) -> Iterator[Any]:
    """An array, or the open archive of several."""
    with open_file(file) as stream:
        try:
            loaded = np.load(stream, allow_pickle=False)
        except Exception as error:  # NumPy parses the header as Python: a damaged one may raise any error
            raise _unreadable(file, error) from error
        yield loaded


def _unreadable(file: Path, error: Exception) -> InputError:
    return InputError(
        f"{file} can't be read ({reason(error)[:200]}): expected an array as np.save writes it, or an npz"
    )


def read_list(ids: Path) -> Listed:
    """The ids, or names of images, from an ``.npy`` file or a text file with one per line."""
    if ids.suffix.lower() == ".npy":
        return as_list(load_array(ids), str(ids))
    text = ids.read_text("utf-8-sig")
    words = text.split()
    if all(map(is_number, words)):
        return Listed(words, True)
    return Listed([line.strip() for line in text.split("\n") if line.strip()], False)


def as_list(column: NDArray[Any], where: str) -> Listed:
    """An array ``(n,)`` of whole numbers (floating-point ones too), of text, or of bytes in UTF-8 as text."""
    column = column[:, 0] if column.ndim == 2 and column.shape[1] == 1 else column
    is_whole = column.dtype.kind in "iu"
    if column.dtype.kind == "f" and column.ndim == 1 and (np.abs(column) < 2**53).all() and (column % 1 == 0).all():
        column, is_whole = column.astype(np.int64), True
    if (column.dtype.kind not in "US" and not is_whole) or column.ndim != 1:  # 1.5 is not the file name of image 1
        raise InputError(
            f"{where} holds {column.dtype} of the shape {column.shape}, expected whole numbers or file names in one row"
        )
    if column.dtype.kind == "S":
        return Listed([decoded(value, f"{where}: row {row}") for row, value in enumerate(column.tolist(), 1)], False)
    return Listed([str(value) for value in column.tolist()], is_whole)
