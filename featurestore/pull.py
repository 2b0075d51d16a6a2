"""Reads the vectors of given images out of Parquet parts into one matrix, on a few threads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, one_chunk, to_numpy
from featurestore.errors import IntegrityError
from featurestore.parts import ROW_GROUP, Part, Vectors, check_once, vector_sums

READERS = 4
# Vectors decoded at a time: few enough to be still in the cache when they are copied.
BATCH_ROWS = 128
# Vectors read at a time where nothing is to be decoded.
READ_ROWS = 512


def read_vectors(
    folder: Path, parts: Sequence[Part], ids: NDArray[np.int32], hashes: pa.Array, embed_dim: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fill a matrix with the vectors of ``ids``, batch by batch, on a few threads.

    Parameters
    ----------
    ids
        ``(n,)`` int32, ascending.
    hashes
        ``(n,)`` strings: the content hash that a vector must have been made from. An empty one in a part fits any.

    Returns
    -------
    The matrix ``(n, embed_dim)`` float32, and ``(n,)`` bool: which rows were found; the others are undefined. A row
    that another program put into two parts is that of the first.
    """
    X = np.empty((len(ids), embed_dim), np.float32)
    found = np.zeros(len(ids), bool)

    def fill(task: _Task) -> None:
        path = folder / task.part.path
        with _named(path):
            if task.start is None:
                _decode(path, task, X)
            else:
                _read(path, task, X)

    with ThreadPoolExecutor(READERS) as pool:
        tasks: list[_Task] = []
        for part in parts:
            with _named(folder / part.path), _opened(folder / part.path) as file:
                keys = file.read(["ImgId", "content_hash"])
                if len(keys) != part.rows:
                    raise ValueError(f"it has {len(keys)} rows, the log says {part.rows}")
                target, source = _match(keys, ids, hashes)
                new = ~found[target]  # no two threads may write to one row
                target, source = target[new], source[new]
                found[target] = True
                tasks += _tasks(part, folder, file, target, source)
        list(pool.map(fill, tasks))
    return X, found


class _Task(NamedTuple):
    """One row group: which of its rows (``source``, ascending) go to which rows of the matrix.

    ``start`` is the byte at which its floats begin, and ``sums`` are the checksums of the rows of ``source``; both are
    None where the floats must be decoded.
    """

    part: Part
    group: int
    target: NDArray[np.intp]
    source: NDArray[np.intp]
    start: int | None
    sums: NDArray[np.uint32] | None


def _tasks(
    part: Part, folder: Path, file: pq.ParquetFile, target: NDArray[np.intp], source: NDArray[np.intp]
) -> Iterator[_Task]:
    """A task for each row group that holds some of the rows ``source``.

    Of a part that says where its vectors lie nothing else is asked: pyarrow ends the process where the metadata of a
    column are damaged. One that does not is compared with its hash.
    """
    vectors = Vectors.of(file.metadata)
    if vectors is None:
        check_once(part, folder)
        rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        edges = np.cumsum([0, *rows]).tolist()
    else:
        edges = [*range(0, file.metadata.num_rows, ROW_GROUP), file.metadata.num_rows]
    for group, (first, end) in enumerate(pairwise(edges)):
        low, high = np.searchsorted(source, [first, end])
        if low == high:
            continue
        start, sums = (None, None) if vectors is None else (vectors.starts[group], vectors.sums[source[low:high]])
        yield _Task(part, group, target[low:high], source[low:high] - first, start, sums)


def _decode(path: Path, task: _Task, X: NDArray[np.float32]) -> None:
    """Let Parquet decode the vectors of a row group, and copy them to their places."""
    start = 0
    with _opened(path) as file:
        groups = [task.group]
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=["embedding"], use_threads=False):
            values = batch.column(0).flatten().to_numpy().reshape(-1, X.shape[1])
            low, high = np.searchsorted(task.source, [start, start + len(values)])
            X[task.target[low:high]] = values[task.source[low:high] - start]
            start += len(values)
    if start <= task.source[-1]:
        raise OSError(f"a row group ends after {start} vectors")


def _read(path: Path, task: _Task, X: NDArray[np.float32]) -> None:
    """Read vectors as they lie in the file, straight to their places where these run without gaps.

    Not by a memory map: its page faults cost more than the bytes, and its pages count as memory of the process.
    """
    assert task.start is not None
    width = X.shape[1] * X.itemsize
    scratch = np.empty((0, X.shape[1]), np.float32)
    with path.open("rb", buffering=0) as file:
        for start in range(0, int(task.source[-1]) + 1, READ_ROWS):
            low, high = np.searchsorted(task.source, [start, start + READ_ROWS])
            if low == high:
                continue
            source, target = task.source[low:high], task.target[low:high]
            first, rows = int(source[0]), int(source[-1] - source[0]) + 1
            file.seek(task.start + first * width)
            if rows == len(source) and (np.diff(target) == 1).all():
                read = X[target[0] : target[-1] + 1]
                _fill(file, read)
            else:
                scratch = scratch if len(scratch) else np.empty((READ_ROWS, X.shape[1]), np.float32)
                _fill(file, scratch[:rows])
                X[target] = read = scratch[source - first]
            # At once: what was read is still in the processor's cache.
            if task.sums is not None and (vector_sums(read) != task.sums[low:high]).any():
                raise OSError("its vectors don't match their checksums")


def _fill(file: FileIO, rows: NDArray[np.float32]) -> None:
    """Read as many bytes as ``rows`` has; a read may give fewer than it was asked for.

    Raises
    ------
    OSError
        When the file ends before.
    """
    left = memoryview(rows.data).cast("B")
    while len(left):
        count = file.readinto(left)
        if not count:
            raise OSError(f"the file ends {len(left)} bytes early")
        left = left[count:]


def _opened(path: Path) -> pq.ParquetFile:
    return pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever goes wrong with the part at ``path`` in the block names it.

    Raises
    ------
    IntegrityError
        When it is missing or damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing: see `featurestore verify`") from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:  # KeyError: a column of another name
        raise IntegrityError(f"{path} can't be read ({str(error)[:160]}): see `featurestore verify`") from error


def _match(keys: pa.Table, ids: NDArray[np.int32], hashes: pa.Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the matrix and rows of the part that belong together, the latter ascending."""
    if not len(ids):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    part_ids = to_numpy(keys["ImgId"])
    position = np.searchsorted(ids, part_ids).clip(max=len(ids) - 1)
    have = one_chunk(keys["content_hash"])
    same_bytes = to_numpy(pc.equal(have, hashes.take(from_numpy(position)))) | (to_numpy(pc.binary_length(have)) == 0)
    source = np.flatnonzero((ids[position] == part_ids) & same_bytes)
    return position[source], source
