"""Reads and checks files of ids and of vectors computed elsewhere (CSV, Parquet, NumPy); it stores nothing."""

import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pyarrow import csv

from featurestore.embedding.vectors import faults
from featurestore.errors import EmbeddingError, InputError, reason
from featurestore.storage.schemas import MAX_ID

# Errors that the libraries raise on damaged files.
DAMAGE = (pa.ArrowException, OSError, EOFError, ValueError, zlib.error)


@dataclass(frozen=True)
class ImportedVectors:
    """Vectors ``X`` ``(n, d)`` float32, their ids ``(n,)`` int64 and the file names of their images."""

    ids: NDArray[np.int64]
    names: Sequence[str]
    X: NDArray[np.float32]


def read_vectors_file(file: Path, ids: Path | None = None) -> ImportedVectors:
    """Read vectors from a CSV, CSV.gz, Parquet or ``.npy`` file; for ``.npy``, ``ids`` is the file of the ids.

    Raises
    ------
    InputError
        When it can't be read as one of these.
    EmbeddingError
        When a vector or an id can't be stored.
    """
    if not file.is_file():
        what = f"{str(file)!r} is a folder, pipe or device" if file.exists() else f"there is no file {str(file)!r}"
        raise InputError(f"{what}: name the embeddings to import")
    lower = file.name.lower()
    try:
        if lower.endswith((".csv", ".csv.gz")):
            return _check(_from_table(_read_csv(file), file), file)
        if lower.endswith(".parquet"):
            return _check(_from_table(_read_parquet(file), file), file)
        if lower.endswith(".npy"):
            return _check(_from_npy(file, ids), file)
    except DAMAGE as error:
        raise InputError(
            f"{file} can't be read ({reason(error)[:200]}): expected csv, csv.gz, parquet or npy"
        ) from error
    raise InputError(f"{file}: got the suffix {file.suffix!r}, expected .csv, .csv.gz, .parquet or .npy")


def read_ids_file(file: Path) -> NDArray[np.int64]:
    """The ids ``(n,)`` that a file lists, in its order.

    It is ``.npy``, or CSV, CSV.gz or Parquet with a column ImgId or ImgName; any other file has one id per line.

    Raises
    ------
    InputError
        When it can't be read as one of these.
    """
    if not file.is_file():
        raise InputError(f"there is no file {str(file)!r}: name a list of ids")
    lower = file.name.lower()
    try:
        if lower.endswith((".csv", ".csv.gz")):
            return _listed_ids(_read_csv(file), file)
        if lower.endswith(".parquet"):
            return _listed_ids(_read_parquet(file, ["ImgId", "ImgName"]), file)
        return np.array([_id_of(name, file) for name in _read_names(file)], np.int64)
    except DAMAGE as error:
        raise InputError(
            f"{file} can't be read ({reason(error)[:200]}): expected ids in csv, csv.gz, parquet, npy or one per line"
        ) from error


def _listed_ids(table: pa.Table, file: Path) -> NDArray[np.int64]:
    _refuse_twice(table.column_names, file)
    if "ImgId" in table.column_names:
        return _whole_numbers(table["ImgId"], file)
    if "ImgName" in table.column_names:
        return np.array([_id_of(str(name), file) for name in table["ImgName"].to_pylist()], np.int64)
    raise InputError(f"{file} has no column ImgId or ImgName: name a list of ids")


def _read_parquet(file: Path, columns: list[str] | None = None) -> pa.Table:
    """All rows, read in batches: otherwise Arrow allocates as many rows as a damaged file claims to have.

    Column metadata is not read, since pyarrow aborts the process if it is damaged.
    """
    with pq.ParquetFile(file) as parquet:
        schema = parquet.schema_arrow
        if columns is not None:
            schema = pa.schema([field for field in schema if field.name in columns])
            columns = schema.names
        table = pa.Table.from_batches(parquet.iter_batches(columns=columns), schema)
        if table.num_columns and len(table) != parquet.metadata.num_rows:
            raise InputError(
                f"{file} is damaged: its footer says {parquet.metadata.num_rows:,} rows, {len(table):,} can be read: "
                "write it again"
            )
        return table


def _read_csv(file: Path) -> pa.Table:
    opener = gzip.open if file.name.lower().endswith(".gz") else open
    with opener(file, "rb") as stream:
        header = stream.readline().decode("utf-8-sig").strip().replace('"', "").split(",")
    wanted = [name for name in header if _is_number(name) or name in ("ImgName", "ImgId")]
    _refuse_twice(wanted, file)
    return csv.read_csv(
        file,
        read_options=csv.ReadOptions(block_size=64 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            include_columns=wanted,
            column_types={name: pa.float64() for name in wanted} | {"ImgName": pa.string(), "ImgId": pa.int64()},
        ),
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _refuse_twice(names: Sequence[str], file: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"{file}: the column {twice[0]!r} occurs more than once: rename or remove the other")


def _from_table(table: pa.Table, file: Path) -> ImportedVectors:
    columns = table.column_names
    if "ImgName" not in columns and "ImgId" not in columns:
        raise InputError(f"{file}: got the columns {', '.join(columns[:6])}; expected ImgName or ImgId, and 0 … d-1")
    numbered = sorted((name for name in columns if _is_number(name)), key=lambda name: (len(name), name))
    _refuse_twice([name for name in columns if name in ("ImgName", "ImgId", "embedding")] + numbered, file)
    if "embedding" in columns:
        X = _from_lists(table["embedding"], file)
    elif numbered and numbered == [str(number) for number in range(len(numbered))]:
        X = np.column_stack([_numbers(table[name], name, file) for name in numbered])
    else:
        raise InputError(f"{file}: got {len(numbered)} numbered columns, expected 0 … d-1 without gaps, or `embedding`")
    ids = _whole_numbers(table["ImgId"], file) if "ImgId" in columns else None
    if "ImgName" not in columns:
        assert ids is not None
        return ImportedVectors(ids, [f"{img_id}.jpg" for img_id in ids.tolist()], X)
    names = [str(name) for name in table["ImgName"].to_pylist()]
    named = np.array([_id_of(name, file) for name in names], np.int64)
    if ids is not None and (ids != named).any():
        row = int((ids != named).argmax())
        raise EmbeddingError(f"{file}: row {row + 1} has the ImgId {ids[row]} and the ImgName {names[row]!r}: fix one")
    return ImportedVectors(named, names, X)


def _from_lists(column: pa.ChunkedArray, file: Path) -> NDArray[np.floating]:
    if not (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    ):
        raise EmbeddingError(f"{file}: the column embedding holds {column.type}, expected lists of numbers")
    lists = column.combine_chunks()
    lengths = pc.unique(pc.list_value_length(lists)).to_pylist()
    if len(lengths) != 1 or lengths[0] is None:
        raise EmbeddingError(f"{file}: the embeddings have the lengths {lengths[:5]}, expected one length for all")
    X: NDArray[np.floating] = lists.flatten().to_numpy(zero_copy_only=False).reshape(len(lists), lengths[0])
    return X


def _numbers(column: pa.ChunkedArray, name: str, file: Path) -> NDArray[Any]:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise EmbeddingError(f"{file}: the column {name!r} holds {column.type}, expected numbers")
    return column.to_numpy()


def _whole_numbers(column: pa.ChunkedArray, file: Path) -> NDArray[np.int64]:
    if not pa.types.is_integer(column.type):
        raise EmbeddingError(f"{file}: got the column ImgId as {column.type}, expected whole numbers")
    if column.null_count:
        raise EmbeddingError(f"{file}: row {pc.index(pc.is_null(column), True).as_py() + 1} has no ImgId: fill it in")
    bounds = pc.min_max(column).as_py()
    if len(column) and (bounds["min"] < 0 or bounds["max"] > MAX_ID):
        raise EmbeddingError(f"{file}: got ids from {bounds['min']} to {bounds['max']}, expected 0 to {MAX_ID}")
    return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)


def _from_npy(file: Path, ids: Path | None) -> ImportedVectors:
    if ids is None or not ids.is_file():
        raise InputError(f"{file} holds no ids: name them with --ids FILE (.npy, or one per line), got {ids}")
    X = _load_array(file)
    names = _read_names(ids)
    if X.ndim != 2 or len(X) != len(names):
        raise InputError(f"{file} has the shape {X.shape} and {ids} {len(names)} ids; expected (n, d) and n ids")
    numbers = np.array([_id_of(name, ids) for name in names], np.int64)
    return ImportedVectors(numbers, [name if "." in name else f"{name}.jpg" for name in names], X)


def _read_names(ids: Path) -> list[str]:
    """The ids, or file names of images, from an ``.npy`` file or a text file with one per line."""
    if ids.suffix.lower() != ".npy":
        return ids.read_text("utf-8-sig").split()
    column = _load_array(ids)
    if column.dtype.kind not in "iuU" or column.ndim != 1:  # 1.5 would be taken for the file name of image 1
        raise InputError(
            f"{ids} holds {column.dtype} of the shape {column.shape}, expected whole numbers or file names in one row"
        )
    return [str(value) for value in column.tolist()]


def _load_array(file: Path) -> NDArray[Any]:
    try:
        array = np.load(file, allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python: a damaged one may raise any error
        raise InputError(
            f"{file} can't be read ({reason(error)[:200]}): expected an array as np.save writes it"
        ) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{file} is an archive of several arrays (npz), expected one array as np.save writes it")
    return array


def _id_of(name: str, file: Path) -> int:
    stem = os.path.splitext(name)[0]
    if not (_is_number(stem) and len(stem.lstrip("0")) <= len(str(MAX_ID)) and int(stem) <= MAX_ID):
        raise InputError(f"{file}: got the image name {name[:80]!r}, expected a number to {MAX_ID}, as in 114709.jpg")
    return int(stem)


def _check(vectors: ImportedVectors, file: Path) -> ImportedVectors:
    """Refuse vectors and ids that can't be stored, with their names."""
    if not len(vectors.ids) or not vectors.X.shape[1]:
        raise EmbeddingError(f"{file} holds no embeddings: got the shape {vectors.X.shape}")
    if vectors.X.dtype.kind not in "fiu":
        raise EmbeddingError(f"{file}: got {vectors.X.dtype} values, expected numbers")
    values, counts = np.unique(vectors.ids, return_counts=True)
    if counts.max() > 1:
        raise EmbeddingError(f"{file}: ImgId {values[counts.argmax()]} has {counts.max()} vectors, expected one each")
    with np.errstate(over="ignore"):
        X = np.ascontiguousarray(vectors.X, np.float32)
    bad = faults(X)
    if bad:
        row, why = next(iter(bad.items()))
        raise EmbeddingError(
            f"{file}: {len(bad)} of {len(X)} vectors can't be stored, first {vectors.names[row]}: {why}; "
            "nothing was imported"
        )
    return ImportedVectors(vectors.ids, vectors.names, X)
