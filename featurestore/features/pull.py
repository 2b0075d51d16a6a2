"""Finds in which Parquet parts the vectors of given images lie, and reads chosen ones into one matrix, on threads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
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
from featurestore.storage.parts import ROW_GROUP, Part, VectorBlocks, check_once, vector_sums

READERS = 4
# A thread more than two must have so many bytes to read: else starting it and waiting for it cost more than it brings.
THREAD_BYTES = 2**25
# Vectors decoded at a time: few enough to be still in the cache when they are copied.
BATCH_ROWS = 128
# Vectors read at a time where nothing is to be decoded.
READ_ROWS = 512
# To read so many bytes that nobody asked for costs about as much as to seek past them.
SEEK_BYTES = 16_384


class _Source(NamedTuple):
    """One part: where its vectors lie, None where they must be decoded, and the edges of its row groups."""

    part: Part
    vectors: VectorBlocks | None
    edges: Sequence[int]


@dataclass(frozen=True)
class Places:
    """Where the vectors of one backbone lie, for ``n`` images, as far as its ``parts`` were looked into.

    Parameters
    ----------
    sources
        What is known of each part; None of one that was not looked into yet.
    file
        ``(n,)`` int32: the number of the part in ``parts``, -1 where none of those looked into has the vector.
    row
        ``(n,)`` int32: its row there.
    """

    folder: Path
    parts: Sequence[Part]
    sources: Sequence[_Source | None]
    file: NDArray[np.int32]
    row: NDArray[np.int32]

    @classmethod
    def unknown(cls, folder: Path, parts: Sequence[Part], images: int) -> "Places":
        """Those of so many images in ``parts`` of the store in ``folder``, before any was looked into."""
        file, row = np.full(images, -1, np.int32), np.zeros(images, np.int32)
        return cls(folder, parts, [None] * len(parts), file, row)

    def unread(self, ids: NDArray[np.int32]) -> list[int]:
        """The numbers of the parts that may hold a vector of ``ids``, by their range, and were not looked into."""
        left = [number for number, source in enumerate(self.sources) if source is None]
        if not left:
            return []
        ids = np.sort(ids)
        return [number for number in left if _may_hold(self.parts[number], ids)]


def find_vectors(places: Places, numbers: Sequence[int], ids: NDArray[np.int32], hashes: pa.Array) -> Places:
    """Look up the vectors of all images in the keys of some more parts; no vector is read.

    Parameters
    ----------
    numbers
        Those of the parts, which lie in the folder of ``places``.
    ids
        ``(n,)`` int32, ascending: of all images.
    hashes
        ``(n,)`` strings: the content hash that a vector must have been made from. An empty one in a part fits any.

    Returns
    -------
    Places
        What ``places`` knows and what was found. Of an image that another program put into two parts, that in the
        first.

    Raises
    ------
    IntegrityError
        When a part is missing or damaged.
    """
    files, rows, sources = places.file.copy(), places.row.copy(), list(places.sources)
    for number in numbers:
        part = places.parts[number]
        with _named(places.folder / part.path), _opened(places.folder / part.path) as file:
            keys = file.read(["ImgId", "content_hash"])
            _check_keys(keys, part)
            target, source = _match(keys, ids, hashes)
            new = (files[target] < 0) | (files[target] > number)
            files[target[new]], rows[target[new]] = number, source[new]
            sources[number] = _source(part, places.folder, file)
    return Places(places.folder, places.parts, sources, files, rows)


def _may_hold(part: Part, ids: NDArray[np.int32]) -> bool:
    """Whether one of ``ids``, ascending, is in the range of ``part``."""
    if part.first_id is None or part.last_id is None:
        return False
    first, end = np.searchsorted(ids, part.first_id), np.searchsorted(ids, part.last_id, "right")
    return bool(first < end)


def _check_keys(keys: pa.Table, part: Part) -> None:
    """Refuse rows that the manifest does not tell of: by it those are chosen that are read."""
    if len(keys) != part.rows:
        raise ValueError(f"it has {len(keys)} rows, its manifest says {part.rows}")
    ends = pc.min_max(keys["ImgId"]).as_py()
    if (ends["min"], ends["max"]) != (part.first_id, part.last_id):
        raise ValueError(
            f"its ids are {ends['min']} to {ends['max']}, its manifest says {part.first_id} to {part.last_id}"
        )


def read_vectors(places: Places, images: NDArray[np.intp], embed_dim: int) -> NDArray[np.float32]:
    """Fill a matrix with the vectors of some images, row group by row group, on a few threads.

    Parameters
    ----------
    images
        ``(m,)`` numbers of images of ``places`` that have a vector, in any order; one may stand there twice.

    Returns
    -------
    numpy.ndarray
        ``(m, embed_dim)`` float32, C-contiguous, in the order of ``images``.

    Raises
    ------
    IntegrityError
        When a part is missing or damaged, or a vector does not have its checksum.
    """
    X = np.empty((len(images), embed_dim), np.float32)

    def fill(task: _Task) -> None:
        path = places.folder / task.part.path
        with _named(path):
            if task.start is None:
                _decode(path, task, X)
            else:
                _read(path, task, X)

    with ThreadPoolExecutor(min(READERS, 2 + X.nbytes // THREAD_BYTES)) as pool:
        list(pool.map(fill, _tasks(places, images)))
    return X


class _Task(NamedTuple):
    """One row group: which of its rows (``source``, ascending) go to which rows of the matrix.

    ``start`` is the byte at which its floats begin, and ``sums`` are the checksums of the rows of ``source``; both are
    None where the floats must be decoded.
    """

    part: Part
    group: int
    target: NDArray[np.intp]
    source: NDArray[np.integer]
    start: int | None
    sums: NDArray[np.uint32] | None


def _source(part: Part, folder: Path, file: pq.ParquetFile) -> _Source:
    """What is to be known of a part to read its vectors.

    Of one that says where they lie nothing else is asked: pyarrow ends the process where the metadata of a column are
    damaged. One that does not is compared with its hash.
    """
    vectors = VectorBlocks.of(file.metadata)
    if vectors is not None:
        return _Source(part, vectors, [*range(0, part.rows, ROW_GROUP), part.rows])
    check_once(part, folder)
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return _Source(part, None, np.cumsum([0, *rows]).tolist())


def _tasks(places: Places, images: NDArray[np.intp]) -> Iterator[_Task]:
    """A task for each row group that holds a vector of ``images``."""
    file, row = places.file[images], places.row[images]
    target = np.argsort(file.astype(np.int64) << 32 | row, kind="stable")
    file, row = file[target], row[target]
    ends = np.searchsorted(file, np.arange(len(places.sources) + 1))
    for known, (first, last) in zip(places.sources, pairwise(ends.tolist()), strict=True):
        if known is None:
            continue
        part, vectors, edges = known
        inside = row[first:last]
        cuts = first + np.searchsorted(inside, edges) if len(inside) else []
        for group, (low, high) in enumerate(pairwise(cuts)):
            if low < high:
                start = None if vectors is None else vectors.starts[group]
                sums = None if vectors is None else vectors.sums[row[low:high]]
                yield _Task(part, group, target[low:high], row[low:high] - edges[group], start, sums)


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
    """Read vectors as they lie in the file: straight to their places where these run without gaps or lie far apart.

    Not by a memory map: its page faults cost more than the bytes, and its pages count as memory of the process.
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
            # At once: what was read is still in the processor's cache.
            if task.sums is not None and (vector_sums(read) != task.sums[low : low + READ_ROWS]).any():
                raise OSError("its vectors don't match their checksums")


def _fill(file: FileIO, start: int, rows: NDArray[np.float32]) -> None:
    """Read as many bytes as ``rows`` has from ``start`` on; a read may give fewer than it was asked for.

    Raises
    ------
    OSError
        When the file ends before.
    """
    file.seek(start)
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
