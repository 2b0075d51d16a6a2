"""Pulls the embeddings of a view's rows into one matrix; it reads parts directly, DuckDB only picks the rows."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.catalog import quote_name
from featurestore.errors import InputError, IntegrityError, QueryError
from featurestore.parts import Part

if TYPE_CHECKING:
    from featurestore.store import FeatureStore

READERS = 4


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
    ids = rows["ImgId"].to_numpy().astype(np.int32, copy=False)
    valid = dict.fromkeys(ids.tolist(), "")
    images = store.sql("SELECT ImgId, content_hash FROM images WHERE status <> 'broken'")
    for img_id, content_hash in zip(images["ImgId"].to_pylist(), images["content_hash"].to_pylist(), strict=True):
        if img_id in valid:
            valid[img_id] = content_hash
    parts = store.layout.embedding_parts(backbone)
    X, found = read_vectors(store.path / "embeddings", parts, ids, valid, store.layout.dims[backbone])
    kept = rows if found.all() else rows.filter(pa.array(found))
    if not found.all():
        X, ids = X[found], ids[found]
    info = next(info for info in store.backbones() if info.name == backbone)
    return Features(
        X=X,
        ids=ids,
        table=kept.drop_columns(["duplicate_group"]),
        groups=kept["duplicate_group"].to_numpy(),
        missing=int((~found).sum()),
        backbone=backbone,
        revision=revisions[backbone],
        state_id=store.state.id,
        synthetic=store.synthetic or info.synthetic,
    )


def _view_rows(store: "FeatureStore", view: str) -> pa.Table:
    """The rows of ``view``, one an id, ascending, with the duplicate group at the end."""
    views = [
        row["name"] for row in store.sql("SELECT view_name AS name FROM duckdb_views() WHERE NOT internal").to_pylist()
    ]
    if view not in views:
        raise InputError(f"the store has no view {view!r} (it has: {', '.join(sorted(views))})")
    try:
        rows = store.sql(
            f"SELECT v.* EXCLUDE (ImgId), v.ImgId::INTEGER AS ImgId, g.duplicate_group::BIGINT AS duplicate_group "
            f"FROM {quote_name(view)} AS v JOIN duplicate_groups AS g ON g.ImgId = v.ImgId ORDER BY v.ImgId"
        )
    except QueryError as error:
        raise InputError(f"the view {view!r} has no usable column ImgId ({error}): a feature view needs one") from error
    names = [name for name in rows.column_names if name not in ("ImgId", "embedding", "duplicate_group")]
    rows = rows.select(["ImgId", *names, "duplicate_group"])
    ids = rows["ImgId"].to_numpy()
    if len(np.unique(ids)) != len(ids):
        twice = ids[1:][ids[1:] == ids[:-1]][0]
        raise InputError(f"the view {view!r} yields ImgId {twice} more than once: a feature view has one row an image")
    return rows


def read_vectors(
    folder: Path, parts: list[Part], ids: NDArray[np.int32], valid: dict[int, str], embed_dim: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Fill a matrix with the vectors of ``ids``, part by part, on a few threads.

    ``valid`` maps each id to the content hash its vector must have; an empty hash in a part fits any.
    """
    X = np.empty((len(ids), embed_dim), np.float32)
    found = np.zeros(len(ids), bool)

    def fill(part: Part) -> None:
        try:
            with pq.ParquetFile(folder / part.path) as file:
                for group in range(file.num_row_groups):
                    block = file.read_row_group(group, use_threads=False)
                    target, source = _match(block, ids, valid)
                    values = block["embedding"].combine_chunks().flatten().to_numpy().reshape(-1, embed_dim)
                    X[target] = values if len(source) == len(values) else values[source]
                    found[target] = True
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(f"{folder / part.path} can't be read ({error}): restore it from a copy") from error

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(fill, parts))
    return X, found


def _match(block: pa.Table, ids: NDArray[np.int32], valid: dict[int, str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the matrix and rows of the block that belong together."""
    block_ids = block["ImgId"].to_numpy()
    position = np.searchsorted(ids, block_ids)
    inside = position < len(ids)
    inside[inside] = ids[position[inside]] == block_ids[inside]
    hashes = block["content_hash"].to_pylist()
    for row in np.flatnonzero(inside):
        inside[row] = hashes[row] in ("", valid[int(block_ids[row])])
    source = np.flatnonzero(inside)
    return position[source], source
