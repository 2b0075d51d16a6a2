"""Reads the vectors of given images out of Parquet parts into one matrix, on a few threads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, to_numpy
from featurestore.errors import IntegrityError
from featurestore.parts import ONE_PAGE, Part

READERS = 4
# Vectors decoded at a time: few enough to be still in the cache when they are copied.
BATCH_ROWS = 128
# Vectors mapped at a time: mapped pages count as memory of the process until they are given back.
MAPPED_ROWS = 512


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
    The matrix ``(n, embed_dim)`` float32, and ``(n,)`` bool: which rows were found; the others are undefined.
    """
    X = np.empty((len(ids), embed_dim), np.float32)
    found = np.zeros(len(ids), bool)

    def fill(task: _Task) -> None:
        start = 0
        for values in _blocks(folder / task.part.path, task.group, embed_dim):
            low, high = np.searchsorted(task.source, [start, start + len(values)])
            _copy(values, task.source[low:high] - start, X, task.target[low:high])
            start += len(values)

    with ThreadPoolExecutor(READERS) as pool:
        tasks: list[_Task] = []
        for part in parts:
            with _readable(folder / part.path) as file:
                keys = file.read(["ImgId", "content_hash"])
                target, source = _match(keys, ids, hashes)
                found[target] = True
                starts = np.cumsum([0, *(file.metadata.row_group(g).num_rows for g in range(file.num_row_groups))])
            for group, (start, end) in enumerate(pairwise(starts.tolist())):
                low, high = np.searchsorted(source, [start, end])
                if low < high:
                    tasks.append(_Task(part, group, target[low:high], source[low:high] - start))
        list(pool.map(fill, tasks))
    return X, found


class _Task(NamedTuple):
    """One row group: which of its rows (``source``, ascending) go to which rows of the matrix."""

    part: Part
    group: int
    target: NDArray[np.intp]
    source: NDArray[np.intp]


def _blocks(path: Path, group: int, embed_dim: int) -> Iterator[NDArray[np.float32]]:
    """The vectors of one row group, ``(n, embed_dim)`` float32, in one block or several."""
    with _readable(path) as file:
        plain = _plain_values(file, group, embed_dim)
        if plain is not None:
            start, rows = plain
            for row in range(0, rows, MAPPED_ROWS):
                shape = (min(MAPPED_ROWS, rows - row), embed_dim)
                yield np.memmap(path, np.float32, mode="r", offset=start + row * embed_dim * 4, shape=shape)
            return
        for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=["embedding"], use_threads=False):
            yield batch.column(0).flatten().to_numpy().reshape(-1, embed_dim)


def _plain_values(file: pq.ParquetFile, group: int, embed_dim: int) -> tuple[int, int] | None:
    """Where the floats of a row group begin in the file, and its rows; None where they must be decoded.

    In an uncompressed page the plain values stand last (Parquet format, "Data Pages"), so when a row group is one page
    they are the last bytes of its column chunk. Decoding 2048 repetition levels a vector to learn that costs more than
    reading the vectors.
    """
    meta = file.metadata
    marked = all((meta.metadata or {}).get(key) == value for key, value in ONE_PAGE.items())
    row_group = meta.row_group(group)
    columns = [row_group.column(i) for i in range(row_group.num_columns)]
    column = next(column for column in columns if column.path_in_schema.startswith("embedding"))
    size = row_group.num_rows * embed_dim * 4
    exact = (column.compression, column.has_dictionary_page) == ("UNCOMPRESSED", False)
    if not (marked and exact and column.num_values == row_group.num_rows * embed_dim):
        return None
    return column.data_page_offset + column.total_compressed_size - size, row_group.num_rows


@contextmanager
def _readable(path: Path) -> Iterator[pq.ParquetFile]:
    """The open part at ``path``; whatever is wrong with it names it.

    Raises
    ------
    IntegrityError
        When it is missing or damaged.
    """
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            yield file
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing: see `featurestore verify`") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path} can't be read ({str(error)[:160]}): see `featurestore verify`") from error


def _match(keys: pa.Table, ids: NDArray[np.int32], hashes: pa.Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the matrix and rows of the part that belong together, the latter ascending."""
    if not len(ids):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    part_ids = to_numpy(keys["ImgId"])
    position = np.searchsorted(ids, part_ids).clip(max=len(ids) - 1)
    have = keys["content_hash"].combine_chunks()
    same_bytes = to_numpy(pc.equal(have, hashes.take(from_numpy(position)))) | (to_numpy(pc.binary_length(have)) == 0)
    source = np.flatnonzero((ids[position] == part_ids) & same_bytes)
    return position[source], source


def _copy(
    values: NDArray[np.float32], source: NDArray[np.intp], X: NDArray[np.float32], target: NDArray[np.intp]
) -> None:
    """``X[target] = values[source]``, as one block where both run without gaps: three times as fast."""
    if not len(source):
        return
    first, last = target[0], target[-1]
    if len(source) == len(values) and last - first + 1 == len(target) and (np.diff(target) == 1).all():
        X[first : last + 1] = values
    else:
        X[target] = values[source]
