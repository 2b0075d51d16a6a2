"""Reads selected vectors of a store's parts into one matrix, on threads, mostly by byte offset without decoding."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.features.places import Places, named, opened
from featurestore.storage.parts import Part, vector_sums

READERS = 4
# Minimum bytes per thread beyond two: with fewer, starting and joining the thread costs more than it saves.
THREAD_BYTES = 2**25
# Vectors decoded at a time: few enough to stay in the CPU cache until they are copied.
BATCH_ROWS = 128
# Vectors read at a time when no decoding is needed.
READ_ROWS = 512
# Reading this many unneeded bytes costs about as much as a seek.
SEEK_BYTES = 16_384


def read_vectors(places: Places, images: NDArray[np.intp], embed_dim: int) -> NDArray[np.float32]:
    """Fill a matrix with the vectors of ``images``, one row group per task, on a few threads.

    Parameters
    ----------
    images
        ``(m,)`` indices of images in ``places`` that have a vector, in any order; repetitions are allowed.

    Returns
    -------
    numpy.ndarray
        ``(m, embed_dim)`` float32, C-contiguous, in the order of ``images``.

    Raises
    ------
    IntegrityError
        When a part is missing or damaged, or a vector doesn't match its checksum.
    """
    X = np.empty((len(images), embed_dim), np.float32)

    def fill(task: _Task) -> None:
        path = places.folder / task.part.path
        with named(path):
            if task.start is None:
                _decode(path, task, X)
            else:
                _read(path, task, X)

    with ThreadPoolExecutor(min(READERS, 2 + X.nbytes // THREAD_BYTES)) as pool:
        list(pool.map(fill, _tasks(places, images)))
    return X


class _Task(NamedTuple):
    """One row group: which of its rows (``source``, ascending) are copied to which rows of the matrix.

    ``start`` is the byte offset of its floats, and ``sums`` are the checksums of the rows of ``source``; both are None
    if the floats must be decoded.
    """

    part: Part
    group: int
    target: NDArray[np.intp]
    source: NDArray[np.integer]
    start: int | None
    sums: NDArray[np.uint32] | None


def _tasks(places: Places, images: NDArray[np.intp]) -> Iterator[_Task]:
    """A task for each row group that holds a vector of ``images``."""
    file, row = places.file[images], places.row[images]
    target = np.argsort(file.astype(np.int64) << 32 | row, kind="stable")
    file, row = file[target], row[target]
    starts = np.flatnonzero(np.diff(file, prepend=-1))  # of each part that holds one: a batch needs a few of many
    for first, last in pairwise([*starts.tolist(), len(file)]):
        known = places.sources[file[first]]
        assert known is not None  # a part that was not read holds no image yet
        part, vectors, edges = known
        cuts = first + np.searchsorted(row[first:last], edges)
        for group, (low, high) in enumerate(pairwise(cuts)):
            if low < high:
                start = None if vectors is None else vectors.starts[group]
                sums = None if vectors is None else vectors.sums[row[low:high]]
                yield _Task(part, group, target[low:high], row[low:high] - edges[group], start, sums)


def _decode(path: Path, task: _Task, X: NDArray[np.float32]) -> None:
    """Decode the vectors of a row group with Parquet, and copy them to their rows."""
    start = 0
    with opened(path) as file:
        groups = [task.group]
        for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=["embedding"], use_threads=False):
            values = batch.column(0).flatten().to_numpy().reshape(-1, X.shape[1])
            low, high = np.searchsorted(task.source, [start, start + len(values)])
            X[task.target[low:high]] = values[task.source[low:high] - start]
            start += len(values)
    if start <= task.source[-1]:
        raise OSError(f"a row group ends after {start} vectors")


def _read(path: Path, task: _Task, X: NDArray[np.float32]) -> None:
    """Read vectors by byte offset: directly to their rows if these are contiguous or far apart.

    No memory map is used: page faults cost more than reading, and its pages count as memory of the process.
    """
    assert task.start is not None
    width = X.shape[1] * X.itemsize
    scratch = np.empty((0, X.shape[1]), np.float32)
    with path.open("rb", buffering=0) as file:
        for low in range(0, len(task.source), READ_ROWS):
            source, target = task.source[low : low + READ_ROWS], task.target[low : low + READ_ROWS]
            first, rows = int(source[0]), int(source[-1] - source[0]) + 1
            start = task.start + first * width
            if (np.diff(source) == 1).all() and (np.diff(target) == 1).all():
                read = X[target[0] : target[-1] + 1]
                _fill(file, start, read)
            elif rows * width > len(source) * (width + SEEK_BYTES):
                for row, place in zip(source.tolist(), target.tolist(), strict=True):
                    _fill(file, task.start + row * width, X[place])
                read = X[target]
            else:
                scratch = scratch if len(scratch) >= rows else np.empty((rows, X.shape[1]), np.float32)
                _fill(file, start, scratch[:rows])
                X[target] = read = scratch[source - first]
            # Verified now, while the data is still in the CPU cache.
            if task.sums is not None and (vector_sums(read) != task.sums[low : low + READ_ROWS]).any():
                raise OSError("its vectors don't match their checksums")


def _fill(file: FileIO, start: int, rows: NDArray[np.float32]) -> None:
    """Fill ``rows`` with bytes from ``start`` on; repeat, since one read may return fewer bytes than requested.

    Raises
    ------
    OSError
        When the file ends too early.
    """
    file.seek(start)
    left = memoryview(rows.data).cast("B")
    while len(left):
        count = file.readinto(left)
        if not count:
            raise OSError(f"the file ends {len(left)} bytes early")
        left = left[count:]
