"""Reads vectors computed elsewhere from CSV, Parquet, NumPy's files and folders of shards; it stores nothing."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.embedding.vector_files.arrays import Listed, read_list, read_matrix, read_npz
from featurestore.embedding.vector_files.columns import EXPECTED, Chosen, choose, key_columns
from featurestore.embedding.vector_files.imported import DAMAGE, ImportedVectors, check
from featurestore.embedding.vector_files.keys import numbers_of, texts, whole
from featurestore.embedding.vector_files.matrix import from_lists, from_numbered
from featurestore.embedding.vector_files.shards import VectorShard, shard_of, shards_in
from featurestore.embedding.vector_files.tables import csv_header, parquet_schema, read_csv, read_parquet
from featurestore.errors import EmbeddingError, InputError, reason
from featurestore.files import file_hash
from featurestore.storage.schemas import MAX_ID

KINDS = ".csv, .csv.gz, .parquet, .npy or .npz"


def read_vectors_file(file: Path, ids: Path | None = None) -> ImportedVectors:
    """Read vectors and what names their images.

    Parameters
    ----------
    file
        CSV, CSV.gz, Parquet, ``.npy`` or ``.npz``; or a folder of clip-retrieval's ``img_emb_*.npy``.
    ids
        For ``.npy``, and ``.npz`` without ids: the file of the ids.

    Raises
    ------
    InputError
        When it can't be read as one of these.
    EmbeddingError
        When a vector can't be stored.
    """
    if not file.is_file() and not file.is_dir():
        what = f"{str(file)!r} is a pipe or device" if file.exists() else f"there is no file {str(file)!r}"
        raise InputError(f"{what}: name the embeddings to import")
    try:
        return check(_read(file, ids), file)
    except DAMAGE as error:
        raise InputError(f"{file} can't be read ({reason(error)[:200]}): expected csv, parquet, npy or npz") from error


def vectors_hash(file: Path) -> str:
    """SHA-256 of the bytes of a file of vectors, 64 hex digits; of a folder, that of the hashes of its shards."""
    if not file.is_dir():
        return file_hash(file)
    hashes = [file_hash(one) for shard in shards_in(file) for one in (shard.matrix, shard.metadata)]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _read(file: Path, ids: Path | None) -> ImportedVectors:
    lower = file.name.lower()
    is_array = lower.endswith((".npy", ".npz")) and not file.is_dir()
    if ids is not None and not is_array:
        raise InputError(f"{file} names the images itself, so --ids is for .npy and .npz only: leave it out")
    if file.is_dir():
        return _from_shards(shards_in(file))
    if lower.endswith((".csv", ".csv.gz")):
        chosen = choose(csv_header(file), file)
        numbered = () if chosen.lists else chosen.vectors
        text = (*chosen.keys, *(chosen.vectors if chosen.lists else ()))
        return _from_table(read_csv(file, text=text, numbers=numbered), chosen, file)
    if lower.endswith(".parquet"):
        schema = parquet_schema(file)
        chosen = choose(schema.names, file, types={field.name: field.type for field in schema})
        return _from_table(read_parquet(file, [*chosen.keys, *chosen.vectors]), chosen, file)
    if not is_array:
        raise InputError(f"{file}: got the suffix {file.suffix!r}, expected {KINDS}")
    if lower.endswith(".npz"):
        return _from_npz(file, ids)
    shard = shard_of(file) if ids is None else None
    return _from_shards([shard]) if shard else _from_npy(file, ids)


def _from_table(table: pa.Table, chosen: Chosen, file: Path) -> ImportedVectors:
    if chosen.lists:
        X = from_lists(table[chosen.vectors[0]], chosen.vectors[0], file)
    else:
        X = from_numbered([table[name] for name in chosen.vectors], chosen.vectors, file)
    keys, numbers = _images(table, chosen, file)
    return ImportedVectors(X, keys, numbers, notes=chosen.notes)


def _images(table: pa.Table, chosen: Chosen, file: Path) -> tuple[list[str] | None, NDArray[np.int64] | None]:
    """The keys and the numbers of the rows; text in a column ImgId is a key."""
    keys = None if chosen.name is None else texts(table[chosen.name], chosen.name, file)
    if chosen.number is None:
        return keys, None
    column = table[chosen.number]
    found = texts(column, chosen.number, file)
    numbers = numbers_of(column, found, file)
    if numbers is None and keys is not None:
        row = next(row for row, text in enumerate(found) if whole(text) is None)
        raise EmbeddingError(
            f"{file}: row {row + 1} has the {chosen.number} {found[row][:80]!r}, expected a whole number to {MAX_ID}"
        )
    return (keys, numbers) if numbers is not None else (found, None)


def _from_npz(file: Path, ids: Path | None) -> ImportedVectors:
    X, listed, is_export, notes = read_npz(file)
    if ids is not None:
        return _with_list(X, _listed(ids, file), file, notes)
    if listed is None:
        raise _without_ids(file, ids)
    vectors = _with_list(X, listed, file, notes)
    return ImportedVectors(vectors.X, vectors.keys, vectors.numbers, vectors.listed and not is_export, vectors.notes)


def _from_npy(file: Path, ids: Path | None) -> ImportedVectors:
    if ids is None or not ids.is_file():
        raise _without_ids(file, ids)
    X, notes = read_matrix(file)
    return _with_list(X, _listed(ids, file), file, notes)


def _listed(ids: Path, file: Path) -> Listed:
    if not ids.is_file():
        raise _without_ids(file, ids)
    return read_list(ids)


def _without_ids(file: Path, ids: Path | None) -> InputError:
    return InputError(f"{file} holds no ids: name them with --ids FILE (.npy, or one per line), got {ids}")


def _with_list(X: NDArray[np.float32], listed: Listed, file: Path, notes: tuple[str, ...]) -> ImportedVectors:
    if len(X) != len(listed.texts):
        raise InputError(
            f"{file} has the shape {X.shape} and there are {len(listed.texts)} ids; expected (n, d) and n ids"
        )
    numbers = [whole(text) for text in listed.texts] if listed.numbers else []
    known = [number for number in numbers if number is not None and 0 <= number <= MAX_ID]
    if numbers and len(known) == len(numbers):
        return ImportedVectors(X, None, np.array(known, np.int64), listed=True, notes=notes)
    return ImportedVectors(X, listed.texts, None, notes=notes)


def _from_shards(shards: list[VectorShard]) -> ImportedVectors:
    """The rows of all shards, one after another."""
    matrices: list[NDArray[np.float32]] = []
    keys: list[str] = []
    notes: dict[str, None] = {}
    for shard in shards:
        X, guessed = read_matrix(shard.matrix)
        schema = parquet_schema(shard.metadata)
        number, name, said = key_columns(schema.names, {field.name: field.type for field in schema})
        name = name or number
        if name is None:
            raise InputError(f"{shard.metadata}: got the columns {', '.join(schema.names[:6])}; expected {EXPECTED}")
        found = texts(read_parquet(shard.metadata, [name])[name], name, shard.metadata)
        if len(X) != len(found) or (matrices and X.shape[1] != matrices[0].shape[1]):
            raise InputError(
                f"{shard.matrix} has the shape {X.shape} and {shard.metadata} {len(found)} rows; "
                f"expected n rows, and one length for all"
            )
        matrices.append(X)
        keys += found
        notes |= dict.fromkeys((*said, *guessed))
    X = np.concatenate(matrices) if len(matrices) > 1 else matrices[0]
    return ImportedVectors(X, keys, None, notes=tuple(notes))
