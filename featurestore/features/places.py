"""Finds the part and row of the vectors of given images; it reads keys, but no vectors."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, one_chunk, to_numpy
from featurestore.errors import IntegrityError
from featurestore.storage.parts import ROW_GROUP, Part, VectorBlocks, check_once


class _Source(NamedTuple):
    """One part: the byte offsets of its vectors, None if they must be decoded, and the boundaries of its row groups."""

    part: Part
    vectors: VectorBlocks | None
    edges: Sequence[int]


@dataclass(frozen=True)
class Places:
    """The locations of one backbone's vectors for ``n`` images, as far as its ``parts`` were read.

    Parameters
    ----------
    sources
        The source of each part; None if it was not read yet.
    file
        ``(n,)`` int32: the index into ``parts``, -1 if none of the parts read so far has the vector.
    row
        ``(n,)`` int32: the row in that part.
    """

    folder: Path
    parts: Sequence[Part]
    sources: Sequence[_Source | None]
    file: NDArray[np.int32]
    row: NDArray[np.int32]

    @classmethod
    def unknown(cls, folder: Path, parts: Sequence[Part], images: int) -> "Places":
        """The locations for ``images`` images in ``parts`` of the store in ``folder``, before any part was read."""
        file, row = np.full(images, -1, np.int32), np.zeros(images, np.int32)
        return cls(folder, parts, [None] * len(parts), file, row)

    def unread(self, ids: NDArray[np.int32]) -> list[int]:
        """The indices of the parts that were not read yet and may, by their range of ids, hold a vector of ``ids``."""
        left = [number for number, source in enumerate(self.sources) if source is None]
        if not left:
            return []
        ids = np.sort(ids)
        return [number for number in left if _may_hold(self.parts[number], ids)]


def find_vectors(places: Places, numbers: Sequence[int], ids: NDArray[np.int32], hashes: pa.Array) -> Places:
    """Look up the vectors of all images in the keys of further parts; no vector is read.

    Parameters
    ----------
    numbers
        The indices of the parts, which must be in the folder of ``places``.
    ids
        ``(n,)`` int32, ascending: the ids of all images.
    hashes
        ``(n,)`` strings: the content hash that a vector must have been computed from. An empty hash in a part matches
        any.

    Returns
    -------
    Places
        ``places`` with the locations found added. If an image is in two parts (written by another program), the first
        is used.

    Raises
    ------
    IntegrityError
        When a part is missing or damaged.
    """
    files, rows, sources = places.file.copy(), places.row.copy(), list(places.sources)
    for number in numbers:
        part = places.parts[number]
        with named(places.folder / part.path), opened(places.folder / part.path) as file:
            size = (places.folder / part.path).stat().st_size
            if size != part.size_bytes:
                raise ValueError(f"it has {size} bytes, its manifest says {part.size_bytes}")
            keys = file.read(["ImgId", "content_hash"])
            _check_keys(keys, part)
            target, source = _match(keys, ids, hashes)
            new = (files[target] < 0) | (files[target] > number)
            files[target[new]], rows[target[new]] = number, source[new]
            sources[number] = _source(part, places.folder, file)
    return Places(places.folder, places.parts, sources, files, rows)


def _may_hold(part: Part, ids: NDArray[np.int32]) -> bool:
    """Whether any of the ascending ``ids`` is in the id range of ``part``."""
    if part.first_id is None or part.last_id is None:
        return False
    first, end = np.searchsorted(ids, part.first_id), np.searchsorted(ids, part.last_id, "right")
    return bool(first < end)


def _check_keys(keys: pa.Table, part: Part) -> None:
    """Refuse a part whose keys don't match its manifest, which decides which parts are read."""
    if len(keys) != part.rows:
        raise ValueError(f"it has {len(keys)} rows, its manifest says {part.rows}")
    ends = pc.min_max(keys["ImgId"]).as_py()
    if (ends["min"], ends["max"]) != (part.first_id, part.last_id):
        raise ValueError(
            f"its ids are {ends['min']} to {ends['max']}, its manifest says {part.first_id} to {part.last_id}"
        )


def _source(part: Part, folder: Path, file: pq.ParquetFile) -> _Source:
    """What is needed to read the vectors of a part.

    If the footer has the offsets of the vectors, no column metadata is read: pyarrow aborts the process if it is
    damaged. Other parts are verified against their hash.
    """
    vectors = VectorBlocks.of(file.metadata)
    if vectors is not None:
        return _Source(part, vectors, [*range(0, part.rows, ROW_GROUP), part.rows])
    check_once(part, folder)
    rows = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    return _Source(part, None, np.cumsum([0, *rows]).tolist())


def opened(path: Path) -> pq.ParquetFile:
    """Open a part to read its keys or vectors."""
    return pq.ParquetFile(path, memory_map=True, page_checksum_verification=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn any error with the part at ``path`` in the block into one that names it.

    Raises
    ------
    IntegrityError
        When it is missing or damaged.
    """
    try:
        yield
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing: see `featurestore verify`") from None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:  # KeyError: a missing column
        raise IntegrityError(f"{path} can't be read ({str(error)[:160]}): see `featurestore verify`") from error


def _match(keys: pa.Table, ids: NDArray[np.int32], hashes: pa.Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Matching rows of the matrix and of the part, by ascending rows of the part."""
    if not len(ids):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    part_ids = to_numpy(keys["ImgId"])
    position = np.searchsorted(ids, part_ids).clip(max=len(ids) - 1)
    have = one_chunk(keys["content_hash"])
    same_bytes = to_numpy(pc.equal(have, hashes.take(from_numpy(position)))) | (to_numpy(pc.binary_length(have)) == 0)
    source = np.flatnonzero((ids[position] == part_ids) & same_bytes)
    return position[source], source
