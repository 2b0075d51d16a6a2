"""Writes features to files: Parquet, NumPy, and CSV, also in the study's two layouts. Nothing is pickled."""

import gzip
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from featurestore.errors import InputError
from featurestore.features import rows
from featurestore.features.batches import FeatureBatches
from featurestore.features.features import Features, check_names
from featurestore.features.selection import selection
from featurestore.files import Suffixes, atomic_file, format_of, refuse_target

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from featurestore.catalog.reader import Reader
    from featurestore.progress import Progress

# Layouts of the study, which only stores have whose collection type says how.
LAYOUTS = ("study-embeddings", "study-labeled")
# A bundle and tables of Delta Lake are folders.
SUFFIXES: Suffixes = {
    "parquet": (".parquet",),
    "npz": (".npz",),
    "npy": (".npy",),
    "csv.gz": (".csv.gz",),
    **dict.fromkeys(LAYOUTS, (".csv.gz",)),
    "bundle": (),
    "delta": (),
}
CSV_ROWS = 256
GROUP_ROWS = 4096


def write(
    features: Features | FeatureBatches,
    path: Path,
    form: str | None = None,
    *,
    force: bool = False,
    on_progress: "Progress | None" = None,
) -> list[Path]:
    """Write ``features`` as ``form`` to ``path``, atomically, and return the paths of the files.

    Parameters
    ----------
    features
        Batches can only be written as ``parquet``.
    form
        ``parquet``; ``npz`` (X, ids, y, classes, about); ``npy`` (X, with ids, y and classes in separate files);
        ``csv.gz`` (the view's columns, then ``0 … d-1``). None: by the suffix of ``path``.
    force
        Whether to replace an existing file.
    on_progress
        Called as rows are written to Parquet or CSV.

    Raises
    ------
    InputError
        When the form is unknown or doesn't match the suffix, ``path`` exists and ``force`` is False, or the file can't
        be written.
    """
    if form not in (None, *WRITERS):
        raise InputError(f"got the format {form!r}, expected {', '.join(WRITERS)} or bundle")
    form = format_of(path, form, {name: SUFFIXES[name] for name in WRITERS})
    for target in _npy_files(path) if form == "npy" else [path]:
        refuse_target(target)
        if target.exists() and not force:
            raise InputError(f"{str(target)!r} exists: name another file, or use --force")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {str(path.parent)!r}: create it first")
    try:
        return WRITERS[form](features, path, on_progress or _silent)
    except OSError as error:
        raise InputError(f"{path} can't be written ({error.strerror or error}): name another place") from error
    except pa.ArrowException as error:
        raise InputError(
            f"{form} can't hold these columns ({str(error)[:160]}): leave some out with --columns"
        ) from error


def layout(
    reader: "Reader",
    backbone: str,
    name: str,
    *,
    where: str | None = None,
    ids: "ArrayLike | None" = None,
    limit: int | None = None,
) -> Features:
    """The features of one of the study's two CSV layouts, ``study-embeddings`` or ``study-labeled``.

    The layout defines view and columns; ``where``, ``ids`` and ``limit`` select rows, see `FeatureStore.features`.

    Raises
    ------
    InputError
        When the collection has no such layout.
    """
    if name not in reader.recipe.layouts:
        raise InputError(f"the collection type {reader.recipe.name!r} has no layout {name!r}: use csv.gz")
    view, columns = reader.recipe.layouts[name]
    chosen = selection(where, ids, limit)
    features = rows.read(reader, backbone, view=view, columns=columns, selection=chosen)
    return replace(features, table=features.table.select(columns))


def write_parquet(features: Features | FeatureBatches, file: IO[bytes] | Path, on_progress: "Progress") -> None:
    """Write rows uncompressed, one row group at a time: compression does not help for vectors."""
    done = 0
    with (
        features.to_reader(batch_rows=GROUP_ROWS) as reader,
        pq.ParquetWriter(file, reader.schema, use_dictionary=False, compression="none") as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)
            done += len(batch)
            on_progress(done, len(features))


def _silent(done: int, total: int) -> None:
    """A progress callback that does nothing."""


def _parquet(features: Features | FeatureBatches, path: Path, on_progress: "Progress") -> list[Path]:
    with atomic_file(path) as file:
        write_parquet(features, file, on_progress)
    return [path]


def _npz(features: Features, path: Path, on_progress: "Progress") -> list[Path]:
    with atomic_file(path) as file:
        np.savez(file, allow_pickle=False, about=np.array(json.dumps(features.about)), **_arrays(features))
    return [path]


def _npy_files(path: Path) -> list[Path]:
    return [path, *(path.with_suffix(f".{name}.npy") for name in ("ids", "y", "classes"))]


def _npy(features: Features, path: Path, on_progress: "Progress") -> list[Path]:
    """Write all files before the first is renamed to its final name; files of an earlier export are removed."""
    arrays = _arrays(features)
    written, stale = [], []
    with ExitStack() as stack:
        for target, name in zip(_npy_files(path), ("X", "ids", "y", "classes"), strict=True):
            if name in arrays:
                np.save(stack.enter_context(atomic_file(target)), arrays[name], allow_pickle=False)
                written.append(target)
            else:
                stale.append(target)
    for target in stale:
        target.unlink(missing_ok=True)
    return written


def _arrays(features: Features) -> dict[str, np.ndarray]:
    X, y, ids = features.to_numpy()
    arrays: dict[str, np.ndarray] = {"X": X, "ids": ids}
    if y is not None:
        arrays |= {"y": y, "classes": np.array(features.classes, dtype=np.str_)}
    return arrays


def _csv_gz(features: Features, path: Path, on_progress: "Progress") -> list[Path]:
    """Numbers in the shortest form that reads back as the same float32."""
    names = [str(number) for number in range(features.X.shape[1])]
    check_names(features.table, names)
    with (
        atomic_file(path) as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=4, mtime=0, filename="") as packed,
    ):
        for start in range(0, max(len(features), 1), CSV_ROWS):
            rows = slice(start, start + CSV_ROWS)
            block = features.table.slice(start, CSV_ROWS)
            for name, column in zip(names, np.ascontiguousarray(features.X[rows].T), strict=True):
                block = block.append_column(name, pa.array(column))
            csv.write_csv(block, packed, csv.WriteOptions(include_header=start == 0, quoting_style="needed"))
            on_progress(min(rows.stop, len(features)), len(features))
    return [path]


WRITERS: dict[str, Callable[[Any, Path, "Progress"], list[Path]]] = {
    "parquet": _parquet,
    "npz": _npz,
    "npy": _npy,
    "csv.gz": _csv_gz,
}
