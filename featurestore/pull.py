"""Reads the vectors of given images out of Parquet parts into one matrix, on a few threads."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.errors import IntegrityError
from featurestore.parts import Part

READERS = 4
# Vectors decoded at a time: few enough to be still in the cache when they are copied.
BATCH_ROWS = 128


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

    def fill(task: tuple[Part, int, NDArray[np.intp], NDArray[np.intp], list[int]]) -> None:
        part, start, target, source, groups = task
        with _readable(folder / part.path) as file:
            for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=["embedding"], use_threads=False):
                values = batch.column(0).flatten().to_numpy().reshape(-1, embed_dim)
                low, high = np.searchsorted(source, [start, start + len(values)])
                _copy(values, source[low:high] - start, X, target[low:high])
                start += len(values)

    with ThreadPoolExecutor(READERS) as pool:
        tasks = []
        for part in parts:
            with _readable(folder / part.path) as file:
                keys = file.read(["ImgId", "content_hash"])
                target, source = _match(keys, ids, hashes)
                found[target] = True
                sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            starts = np.cumsum([0, *sizes])
            for group, start in enumerate(starts[:-1].tolist()):
                low, high = np.searchsorted(source, [start, starts[group + 1]])
                if low < high:
                    tasks.append((part, start, target[low:high], source[low:high], [group]))
        list(pool.map(fill, tasks))
    return X, found


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
    part_ids = keys["ImgId"].to_numpy()
    position = np.searchsorted(ids, part_ids).clip(max=len(ids) - 1)
    have = keys["content_hash"].combine_chunks()
    same_bytes = pc.or_(pc.equal(have, hashes.take(pa.array(position))), pc.equal(have, ""))
    source = np.flatnonzero((ids[position] == part_ids) & same_bytes.to_numpy(zero_copy_only=False))
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
