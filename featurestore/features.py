"""Pulls the embeddings of a view's rows into one matrix; it reads parts directly, DuckDB only picks the rows."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.catalog import quote_name
from featurestore.errors import InputError, IntegrityError
from featurestore.parts import Part

if TYPE_CHECKING:
    from featurestore.store import FeatureStore

READERS = 4
# Vectors decoded at a time: few enough to be still in the cache when they are copied.
BATCH_ROWS = 128
# The column that `_view_rows` adds to those of the view.
HASH = "_content_hash"


@dataclass(frozen=True)
class Features:
    """Rows of a view with their embeddings, ascending `ImgId`.

    Parameters
    ----------
    X
        ``(n, embed_dim)`` float32, C-contiguous.
    ids
        ``(n,)`` int32, the `ImgId` of each row.
    table
        The view's columns without the embedding, same order.
    groups
        ``(n,)`` int64; rows of byte-identical images share one.
    missing
        How many rows of the view have no embedding of this backbone; they are left out, never filled.
    """

    X: NDArray[np.float32]
    ids: NDArray[np.int32]
    table: pa.Table
    groups: NDArray[np.int64]
    missing: int
    backbone: str
    revision: str
    state_id: str
    synthetic: bool


def read(store: "FeatureStore", backbone: str, *, view: str) -> Features:
    """See `FeatureStore.features`."""
    revisions = store.state.revisions
    if backbone not in revisions:
        have = ", ".join(sorted(revisions)) or "none yet"
        raise InputError(f"the store has no backbone {backbone!r} (it has: {have}): run `featurestore embed` first")
    rows = _view_rows(store, view)
    ids = rows["ImgId"].to_numpy()
    parts = store.layout.embedding_parts(backbone)
    X, found = read_vectors(store.path / "embeddings", parts, rows, store.layout.dims[backbone])
    kept = rows if found.all() else rows.filter(pa.array(found))
    if not found.all():
        X, ids = X[found], ids[found]
    made_up = store.query(
        "SELECT bool_or(synthetic) AS s FROM backbones WHERE backbone = ? AND revision = ?",
        [backbone, revisions[backbone]],
    )["s"][0].as_py()
    return Features(
        X=X,
        ids=ids,
        table=kept.drop_columns([HASH]),
        groups=_groups(ids, kept[HASH]),
        missing=int((~found).sum()),
        backbone=backbone,
        revision=revisions[backbone],
        state_id=store.state.id,
        synthetic=store.synthetic or bool(made_up),
    )


def _view_rows(store: "FeatureStore", view: str) -> pa.Table:
    """The rows of ``view``, one an id, ascending, with the content hash at the end."""
    columns = store.query(
        "SELECT table_name AS view, column_name AS name FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
    ).to_pylist()
    names = [column["name"] for column in columns if column["view"] == view]
    if not names:
        views = sorted({column["view"] for column in columns})
        raise InputError(f"the store has no view {view!r} (it has: {', '.join(views)})")
    if "ImgId" not in names:
        raise InputError(
            f"the view {view!r} has no column ImgId (it has: {', '.join(names)}): a feature view needs one"
        )
    kept = ["ImgId", *(name for name in names if name not in ("ImgId", "embedding"))]
    rows = store.query(
        f"SELECT {', '.join(f'v.{quote_name(name)}' for name in kept)}, "
        f"i.content_hash AS {HASH} "
        f"FROM {quote_name(view)} AS v JOIN images_usable AS i ON i.ImgId = v.ImgId ORDER BY v.ImgId"
    )
    ids = rows["ImgId"].to_numpy()
    if len(np.unique(ids)) != len(ids):
        twice = ids[1:][ids[1:] == ids[:-1]][0]
        raise InputError(f"the view {view!r} yields ImgId {twice} more than once: a feature view has one row an image")
    return rows.set_column(0, "ImgId", rows["ImgId"].cast(pa.int32()))


def _groups(ids: NDArray[np.int32], hashes: pa.ChunkedArray) -> NDArray[np.int64]:
    """The smallest of the ``ids`` (ascending) that have the same content; without content each is its own."""
    codes = hashes.combine_chunks().dictionary_encode().indices.to_numpy()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    groups = ids[first][inverse].astype(np.int64)
    alone = pc.equal(hashes, "").to_numpy()
    groups[alone] = ids[alone]
    return groups


def read_vectors(
    folder: Path, parts: list[Part], wanted: pa.Table, embed_dim: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fill a matrix with the vectors of ``wanted``, batch by batch, on a few threads.

    Parameters
    ----------
    wanted
        ``ImgId`` ascending, and ``_content_hash``: that of the bytes a vector must have been made from. An empty hash
        in a part fits any.

    Returns
    -------
    The matrix ``(n, embed_dim)`` float32, and ``(n,)`` bool: which rows were found; the others are undefined.
    """
    ids = wanted["ImgId"].to_numpy()
    hashes = wanted[HASH].combine_chunks()
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
