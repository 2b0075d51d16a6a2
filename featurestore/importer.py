"""Vectors that were computed elsewhere: the study's CSV files, Parquet, or a NumPy matrix with its ids."""

import gzip
import os
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

from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.backbones.registry import NAME
from featurestore.errors import EmbeddingError, InputError
from featurestore.ingest import image_rows
from featurestore.names import check_names
from featurestore.parts import file_hash
from featurestore.scan import images_table
from featurestore.staging import present_rows, publish_vectors, replaced_revision
from featurestore.vectors import faults
from featurestore.writer import Writer, open_writer


@dataclass(frozen=True)
class ImportReport:
    """What one import did.

    ``rows`` vectors were in the file, ``added`` are new in the store, ``external`` belong to images that no folder
    has yet. ``replaced`` is the revision that the views of the backbone showed before, empty where it is the same or
    there was none.
    """

    backbone: str
    revision: str
    embed_dim: int
    rows: int
    added: int
    external: int
    replaced: str = ""


@dataclass(frozen=True)
class _Vectors:
    ids: NDArray[np.int64]
    names: Sequence[str]
    X: NDArray[np.float32]


def import_embeddings(
    root: Path,
    file: Path,
    *,
    backbone: str,
    ids: Path | None = None,
    synthetic: bool = False,
    wait_seconds: float = 0.0,
) -> ImportReport:
    """Store the vectors of ``file`` as a revision of ``backbone``; the hash of the file is its identity.

    Formats: CSV or CSV.gz with ``ImgName`` or ``ImgId`` and the columns ``0 … d-1`` (other columns are passed over, so
    both layouts of the study fit), Parquet with the same columns or one list column ``embedding``, and ``.npy``
    ``(n, d)`` with the ids in ``ids`` (``.npy`` or one a line).

    Raises
    ------
    InputError
        When the file can't be read as one of these.
    EmbeddingError
        When a vector or an id can't be stored; then nothing of the file is.
    """
    if not NAME.fullmatch(backbone):
        raise InputError(
            f"got the backbone name {backbone[:80]!r}, expected lower-case letters, digits and _, at most 63"
        )
    vectors = _check(_read(file, ids), file)
    spec = BackboneSpec(
        name=backbone,
        embed_dim=vectors.X.shape[1],
        preprocessing=Preprocessing(),
        weights=f"imported sha256:{file_hash(file)}",
        source=f"imported from {file.name}",
        synthetic=synthetic,
    )
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"import {backbone}") as writer:
        check_names(writer.state.tables, [*writer.state.revisions, backbone], writer.state.views)
        replaced = replaced_revision(writer, spec)
        external = _add_external(writer, vectors)
        hash_of = {row["ImgId"]: row["content_hash"] for row in image_rows(writer) if row["status"] != "broken"}
        there = set(present_rows(writer, spec)["ImgId"].to_pylist())
        order = [row for row in np.argsort(vectors.ids, kind="stable").tolist() if int(vectors.ids[row]) not in there]
        chosen = [int(vectors.ids[row]) for row in order]
        publish_vectors(writer, spec, ids=chosen, hashes=[hash_of.get(i, "") for i in chosen], vectors=vectors.X[order])
    return ImportReport(backbone, spec.revision, spec.embed_dim, len(vectors.ids), len(chosen), external, replaced)


def _add_external(writer: Writer, vectors: _Vectors) -> int:
    """Give every id that the store has never seen a row in `images`, so that views can join it."""
    rows = image_rows(writer)
    seen = {row["ImgId"] for row in rows}
    new: list[dict[str, Any]] = [
        {
            "ImgId": int(img_id),
            "ImgName": name,
            "content_hash": "",
            "size_bytes": 0,
            "width": None,
            "height": None,
            "mode": None,
            "phash": None,
            "status": "external",
            "reason": None,
            "synthetic": False,
            "folder": "",
        }
        for img_id, name in zip(vectors.ids, vectors.names, strict=True)
        if int(img_id) not in seen
    ]
    if new:
        with writer.commit() as commit:
            commit.replace("images", images_table([*rows, *new]))
    return len(new)


def _read(file: Path, ids: Path | None) -> _Vectors:
    if not file.is_file():
        raise InputError(f"there is no file {str(file)!r}: name the embeddings to import")
    lower = file.name.lower()
    try:
        if lower.endswith((".csv", ".csv.gz")):
            return _from_table(_read_csv(file), file)
        if lower.endswith(".parquet"):
            return _from_table(pq.read_table(file), file)
        if lower.endswith(".npy"):
            return _from_npy(file, ids)
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        raise InputError(f"{file} can't be read ({str(error)[:200]}): expected csv, csv.gz, parquet or npy") from error
    raise InputError(f"{file}: got the suffix {file.suffix!r}, expected .csv, .csv.gz, .parquet or .npy")


def _read_csv(file: Path) -> pa.Table:
    opener = gzip.open if file.name.lower().endswith(".gz") else open
    with opener(file, "rb") as stream:
        header = stream.readline().decode("utf-8").strip().replace('"', "").split(",")
    wanted = [name for name in header if name.isdigit() or name in ("ImgName", "ImgId")]
    return csv.read_csv(
        file,
        read_options=csv.ReadOptions(block_size=64 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            include_columns=wanted,
            column_types={name: pa.float64() for name in wanted if name.isdigit()} | {"ImgName": pa.string()},
        ),
    )


def _from_table(table: pa.Table, file: Path) -> _Vectors:
    names = table.column_names
    if "ImgName" not in names and "ImgId" not in names:
        raise InputError(f"{file}: got the columns {', '.join(names[:6])}; expected ImgName or ImgId, and 0 … d-1")
    if "embedding" in names:
        column = table["embedding"].combine_chunks()
        lengths = pc.unique(pc.list_value_length(column)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            raise EmbeddingError(f"{file}: the embeddings have the lengths {lengths[:5]}, expected one length for all")
        X = column.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)
    else:
        numbered = sorted((name for name in names if name.isdigit()), key=int)
        if not numbered or [int(name) for name in numbered] != list(range(len(numbered))):
            raise InputError(
                f"{file}: got {len(numbered)} numbered columns, expected 0 … d-1 without gaps, or `embedding`"
            )
        X = np.column_stack([table[name].to_numpy() for name in numbered])
    if "ImgName" in names:
        img_names = [str(name) for name in table["ImgName"].to_pylist()]
        return _Vectors(np.array([_id_of(name, file) for name in img_names], np.int64), img_names, X)
    ids = table["ImgId"].to_numpy()
    return _Vectors(ids, [f"{img_id}.jpg" for img_id in ids], X)


def _from_npy(file: Path, ids: Path | None) -> _Vectors:
    if ids is None or not ids.is_file():
        raise InputError(f"{file} holds no ids: name them with --ids FILE (.npy, or one a line), got {ids}")
    X = np.load(file, allow_pickle=False)
    if ids.suffix == ".npy":
        column = np.load(ids, allow_pickle=False)
        if column.dtype.kind not in "iuU":  # 1.5 would pass for the file name of image 1
            raise InputError(f"{ids} holds {column.dtype}, expected whole numbers or file names as ids")
        names = [str(value) for value in column.tolist()]
    else:
        names = ids.read_text("utf-8").split()
    if X.ndim != 2 or len(X) != len(names):
        raise InputError(f"{file} has the shape {X.shape} and {ids} {len(names)} ids; expected (n, d) and n ids")
    numbers = np.array([_id_of(name, ids) for name in names], np.int64)
    return _Vectors(numbers, [name if "." in name else f"{name}.jpg" for name in names], X)


def _id_of(name: str, file: Path) -> int:
    stem = os.path.splitext(name)[0]
    if not (stem.isascii() and stem.isdigit()):
        raise InputError(f"{file}: got the image name {name!r}, expected a number as in 114709.jpg")
    return int(stem)


def _check(vectors: _Vectors, file: Path) -> _Vectors:
    """Refuse what can't be stored, by name."""
    if not len(vectors.ids) or not vectors.X.shape[1]:
        raise EmbeddingError(f"{file} holds no embeddings: got the shape {vectors.X.shape}")
    if vectors.X.dtype.kind not in "fiu":
        raise EmbeddingError(f"{file}: got {vectors.X.dtype} values, expected numbers")
    if vectors.ids.dtype.kind not in "iu" or vectors.ids.min() < 0 or vectors.ids.max() > 2**31 - 1:
        raise EmbeddingError(
            f"{file}: got ids from {vectors.ids.min()} to {vectors.ids.max()}, expected 0 to 2147483647"
        )
    values, counts = np.unique(vectors.ids, return_counts=True)
    if counts.max() > 1:
        raise EmbeddingError(f"{file}: ImgId {values[counts.argmax()]} has {counts.max()} vectors, expected one each")
    with np.errstate(over="ignore"):
        X = np.ascontiguousarray(vectors.X, np.float32)
    bad = faults(X)
    if bad:
        row, reason = next(iter(bad.items()))
        raise EmbeddingError(
            f"{file}: {len(bad)} of {len(X)} vectors can't be stored, first {vectors.names[row]}: {reason}; "
            "nothing was imported"
        )
    return _Vectors(vectors.ids, vectors.names, X)
