"""Immutable Parquet parts: written once, named by the hash of their bytes, verified and read; never changed."""

import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore import system
from featurestore.errors import IntegrityError
from featurestore.files import file_hash, make_folder

ROW_GROUP = 4096
# The footer key of the `VectorBlocks` of a part with embeddings.
VECTORS = "featurestore.embedding.vectors"
HASH_DIGITS = 32
NO_SUMS = np.empty(0, np.uint32)


@dataclass(frozen=True)
class Part:
    """One Parquet file of a table.

    Parameters
    ----------
    path
        Path relative to the store; the file name is ``part-`` and the first 32 hex digits of ``sha256``.
    rows, size_bytes
        Number of rows, and size of the file in bytes.
    sha256
        Hash of the file, 64 hex digits.
    first_id, last_id
        The smallest and the largest ``ImgId``; None if there is no such column, or no non-null value.
    """

    path: str
    rows: int
    size_bytes: int
    sha256: str
    first_id: int | None
    last_id: int | None


def write_part(table: pa.Table, root: Path, folder: str, *, check: Callable[[], object] | None = None) -> Part:
    """Write ``table`` as one part into ``folder`` of the store; the same rows give the same bytes and so the same name.

    Parameters
    ----------
    table
        The rows. Embeddings are stored uncompressed, since they don't compress; all else with zstd.
    root
        The store's folder.
    folder
        The folder of the table, relative to the store.
    check
        Raises when the store was removed or replaced. The parents of ``folder`` are then not made: a store that is gone
        while a part is written is not made again.
    """
    if check is None:
        make_folder(root / folder)
        return _written(table, root, folder)
    check()
    try:
        make_folder(root / folder, parents=False)
        return _written(table, root, folder)
    except FileNotFoundError:
        check()
        raise


def _written(table: pa.Table, root: Path, folder: str) -> Part:
    target = root / folder
    temporary = target / f".{uuid4().hex}.tmp"
    try:
        with temporary.open("wb") as file:
            _write(table, file)
            file.flush()
            os.fsync(file.fileno())
        sha256, size = file_hash(temporary), temporary.stat().st_size
        name = f"part-{sha256[:HASH_DIGITS]}.parquet"
        system.replace(temporary, target / name)
    finally:
        temporary.unlink(missing_ok=True)
    system.sync_folder(target)
    return Part(f"{folder}/{name}", table.num_rows, size, sha256, *_id_range(table))


def part_of(root: Path, path: str) -> Part:
    """Describe the part in the existing file ``path`` of the store, after verifying it.

    Raises
    ------
    IntegrityError
        When its name doesn't match the hash of its bytes, or it is not a Parquet file.
    """
    file = root / path
    sha256 = file_hash(file)
    if file.name != f"part-{sha256[:HASH_DIGITS]}.parquet":
        raise IntegrityError(f"{file} is damaged: its bytes don't match its checksum; restore it from a copy")
    with _opened(file) as opened:
        keys = [name for name in opened.schema_arrow.names if name == "ImgId"]
        table = opened.read(keys)
        return Part(path, opened.metadata.num_rows, file.stat().st_size, sha256, *_id_range(table))


def _id_range(table: pa.Table) -> tuple[int | None, int | None]:
    if "ImgId" not in table.column_names or not pa.types.is_integer(table.schema.field("ImgId").type):
        return None, None
    ends = pc.min_max(table["ImgId"]).as_py()
    return ends["min"], ends["max"]


def _write(table: pa.Table, file: BinaryIO) -> None:
    plain = _is_plain(table)
    with pq.ParquetWriter(
        file,
        table.schema,
        compression="none" if plain else "zstd",
        use_dictionary=not plain,
        # One page per row group, so that the values are contiguous in the file, as in memory (`pull` relies on this).
        data_page_size=2**31 - 1 if plain else None,
        write_statistics=[name for name in table.column_names if name != "embedding"],
        write_page_checksum=True,
    ) as writer:
        if not plain:
            writer.write_table(table, row_group_size=131_072)
            return
        column, starts = table.column(-1), []
        width = column.type.list_size
        for first in range(0, len(table), ROW_GROUP):
            group = table.slice(first, ROW_GROUP)
            writer.write_table(group)
            # Plain values are at the end of an uncompressed page (Parquet format, "Data Pages"); no column follows.
            starts.append(file.tell() - len(group) * width * 4)
        sums = [vector_sums(chunk.flatten().to_numpy().reshape(-1, width)) for chunk in column.chunks]
        vectors = VectorBlocks(tuple(starts), np.concatenate([NO_SUMS, *sums]))
        writer.add_key_value_metadata({VECTORS: vectors.to_json()})


def _is_plain(table: pa.Table) -> bool:
    """Whether the last column holds embeddings, each a vector of numbers."""
    if not table.num_columns or table.column_names[-1] != "embedding":
        return False
    column = table.column(-1)
    kind = column.type
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float32() or column.null_count:
        return False
    return not any(chunk.flatten().null_count for chunk in column.chunks)


def vector_sums(vectors: NDArray[np.float32]) -> NDArray[np.uint32]:
    """The sum of the 32-bit words of each of ``(n, embed_dim)`` float32 vectors, modulo 2^32: ``(n,)`` uint32.

    A single flipped bit changes it, and it is computed at memory speed: a tenth of the time of a CRC.
    """
    return np.add.reduce(vectors.view(np.uint32), axis=1, dtype=np.uint32)


@dataclass(frozen=True)
class VectorBlocks:
    """The byte offsets of a part's vectors, and their checksums, with which `pull` reads vectors without decoding.

    Parameters
    ----------
    starts
        The byte offset of the floats of each row group; all but the last have `ROW_GROUP` rows.
    sums
        `vector_sums` of all rows, ``(rows,)`` uint32.
    """

    starts: tuple[int, ...]
    sums: NDArray[np.uint32]

    def to_json(self) -> str:
        """The JSON text for the footer."""
        sums = base64.b64encode(self.sums.astype("<u4").tobytes()).decode()
        return json.dumps({"row_group": ROW_GROUP, "starts": self.starts, "sums": sums})

    @classmethod
    def of(cls, metadata: pq.FileMetaData) -> "VectorBlocks | None":
        """Read the record from the footer of a part; None if there is none.

        Raises
        ------
        ValueError
            When the record is invalid, or its number of rows is not that of the part.
        """
        text = (metadata.metadata or {}).get(VECTORS.encode())
        if text is None:
            return None
        try:
            record = json.loads(text)
            if record["row_group"] != ROW_GROUP:
                return None
            starts = tuple(int(start) for start in record["starts"])
            if not all(0 <= start < 2**63 for start in starts):
                raise ValueError(f"its footer says that vectors begin at {str(max(starts))[:40]}")
            sums = np.frombuffer(base64.b64decode(record["sums"], validate=True), "<u4")
        except (LookupError, TypeError) as error:
            raise ValueError("its footer holds no valid record of its vectors") from error
        rows, groups = metadata.num_rows, len(starts)
        if len(sums) != rows or groups != -(-rows // ROW_GROUP):
            raise ValueError(f"{len(sums)} checksums and {groups} row groups for {rows} vectors")
        return cls(starts, sums)


def check_part(part: Part, root: Path) -> None:
    """Verify size and hash of a part of the store in ``root``, as in its manifest.

    Raises
    ------
    IntegrityError
        When it is missing, has another size or another hash.
    OSError
        When it can't be read.
    """
    path = root / part.path
    if not path.is_file():
        raise IntegrityError(f"{path} is missing: restore it from a copy of the store")
    size = path.stat().st_size
    if size != part.size_bytes:
        raise IntegrityError(f"{path} has {size} bytes, its manifest says {part.size_bytes}: restore it from a copy")
    if file_hash(path) != part.sha256:
        raise IntegrityError(f"{path} is damaged: its bytes don't match its checksum; restore it from a copy")


# Paths, sizes and modification times of the parts that `check_once` found undamaged.
_WHOLE: set[tuple[str, int, int, int]] = set()


def check_once(part: Part, root: Path) -> None:
    """`check_part`, but only once per process while a file is unchanged; raises the same."""
    path = root / part.path
    if not path.is_file():
        check_part(part, root)  # raises if it is missing
    status = path.stat()
    seen = (str(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if seen not in _WHOLE:
        check_part(part, root)
        _WHOLE.add(seen)


def read_part(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Read one part, whole or some ``columns``.

    Raises
    ------
    IntegrityError
        When it is missing or can't be read as Parquet.
    """
    with _opened(path) as file:
        return file.read(columns)


def read_groups(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Yield some ``columns`` of one part, one row group at a time; raises as `read_part`."""
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        # Not `pq.read_table`, which loads pyarrow.dataset and pandas.
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing: restore it from a copy of the store") from None
    except (OSError, pa.ArrowException) as error:
        raise IntegrityError(f"{path} can't be read as Parquet ({error}): restore it from a copy") from error
