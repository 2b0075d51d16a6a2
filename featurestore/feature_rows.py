"""From a view to `Features`: its rows, one an image, and the vectors that belong to them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.catalog import release_unused
from featurestore.errors import InputError, QueryError
from featurestore.failing import list_views
from featurestore.features import Features
from featurestore.names import nearest, quote_name
from featurestore.pull import read_vectors

if TYPE_CHECKING:
    from featurestore.store import FeatureStore

# The column that `_view_rows` adds to those of the view.
HASH = "_content_hash"
# Rows moved at a time where some are left out: a second matrix would double the memory.
MOVE_ROWS = 4096


class _Rows(NamedTuple):
    """The rows of a view with their content hashes, and the `ids` and `groups` of `Features`."""

    table: pa.Table
    ids: NDArray[np.int32]
    groups: NDArray[np.int64]


# What each open store was asked for last: asked for again, as bench and search do, the query costs as much as the read.
_LAST: "WeakKeyDictionary[FeatureStore, tuple[object, _Rows]]" = WeakKeyDictionary()


def read(
    store: "FeatureStore",
    backbones: str | Sequence[str],
    *,
    view: str,
    columns: Sequence[str] | None = None,
    label: str | None = None,
) -> Features:
    """See `FeatureStore.features`."""
    names = [backbones] if isinstance(backbones, str) else list(dict.fromkeys(backbones))
    columns = [columns] if isinstance(columns, str) else columns
    _check_backbones(store, names)
    rows, ids, groups = _rows(store, view, columns, label)
    hashes = arrow.one_chunk(rows[HASH])
    matrices, found = [], np.ones(len(ids), bool)
    for name in names:
        parts = store.layout.embedding_parts(name)
        X, there = read_vectors(store.path / "embeddings", parts, ids, hashes, store.layout.dims[name])
        matrices.append(X)
        found &= there
    if not found.all():
        matrices = [_kept(X, found) for X in matrices]
        rows, ids = rows.filter(arrow.from_numpy(found)), ids[found]
        groups = _groups(ids, rows[HASH])
    return Features(
        X=matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1),
        ids=ids,
        table=rows.drop_columns([HASH]),
        groups=groups.copy(),  # the caller's own: what is kept for the next call must not change
        missing=int((~found).sum()),
        backbone="+".join(names),
        revision="+".join(store.state.revisions[name] for name in names),
        state_id=store.state.id,
        synthetic=store.synthetic or _made_up(store, names),
        dims=tuple((name, store.layout.dims[name]) for name in names),
        label=label,
    )


def _kept(X: NDArray[np.float32], found: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The rows of ``X`` that were found, moved up in place: a row never moves down, so none is overwritten unread."""
    rows = np.flatnonzero(found)
    for start in range(0, len(rows), MOVE_ROWS):
        chunk = rows[start : start + MOVE_ROWS]
        X[start : start + len(chunk)] = X[chunk]
    return X[: len(rows)]


def _check_backbones(store: "FeatureStore", names: Sequence[str]) -> None:
    have = store.state.revisions
    if not names:
        raise InputError(f"got no backbone, expected one or more of {', '.join(sorted(have)) or 'none yet'}")
    for name in names:
        if name not in have:
            listed = ", ".join(sorted(have)) or "none yet"
            raise InputError(f"the store has no backbone {name!r} (it has: {listed}): run `featurestore embed` first")


def _made_up(store: "FeatureStore", names: Sequence[str]) -> bool:
    rows = store.query("SELECT backbone, revision FROM backbones WHERE synthetic").to_pylist()
    return any(store.state.revisions[row["backbone"]] == row["revision"] for row in rows if row["backbone"] in names)


def _rows(store: "FeatureStore", view: str, columns: Sequence[str] | None, label: str | None) -> _Rows:
    """The rows of `_view_rows`, those of the last call where it was the same on the same state."""
    key = (store.state.id, view, None if columns is None else tuple(columns), label)
    last = _LAST.get(store)
    if last is not None and last[0] == key:
        return last[1]
    table = _view_rows(store, view, columns, label)
    ids = arrow.to_numpy(table["ImgId"])
    ids.flags.writeable = False  # shared with every later answer
    rows = _Rows(table, ids, _groups(ids, table[HASH]))
    pa.default_memory_pool().release_unused()  # what finding them took: the matrix comes next
    release_unused(store.connection)
    _LAST[store] = (key, rows)
    return rows


def _view_rows(
    store: "FeatureStore", view: str, columns: Sequence[str] | None = None, label: str | None = None
) -> pa.Table:
    """The rows of ``view``, one an id, ascending, with the content hash at the end."""
    listed = store.query(
        "SELECT table_name AS view, column_name AS name FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
    ).to_pylist()
    names = [column["name"] for column in listed if column["view"] == view]
    if view in store.state.views:
        _refuse_failing(store, view, there=bool(names))
    if not names:
        views = {column["view"] for column in listed if not column["view"].startswith("_")}
        raise InputError(f"the store has no view {view!r} ({nearest(view, views)})")
    wanted = [
        *(columns if columns is not None else (n for n in names if n != "embedding")),
        *([label] if label else []),
    ]
    for name in ["ImgId", *wanted]:
        if name not in names:
            raise InputError(f"the view {view!r} has no column {name!r} ({nearest(name, names)})")
    kept = dict.fromkeys(["ImgId", *wanted])
    rows = store.query(
        f"SELECT {', '.join(f'v.{quote_name(name)}' for name in kept)}, i.content_hash AS {HASH} "
        f"FROM {quote_name(view)} AS v JOIN images_usable AS i ON i.ImgId = v.ImgId ORDER BY v.ImgId"
    )
    # In memory of its own: else DuckDB's buffers live as long as the rows, beside the hashes in one piece.
    rows = rows.set_column(0, "ImgId", rows["ImgId"].cast(pa.int32())).combine_chunks()
    ids = arrow.to_numpy(rows["ImgId"])
    twice = ids[1:][ids[1:] == ids[:-1]]
    if len(twice):
        raise InputError(
            f"the view {view!r} yields ImgId {twice[0]} more than once: a feature view has one row an image"
        )
    return rows


def _refuse_failing(store: "FeatureStore", view: str, *, there: bool) -> None:
    """Refuse a user's view that can't be made; one that has a name of the store's own is not what is meant by it."""
    placeholder = list_views(store.connection).get(view)
    if placeholder is not None or not there:
        raise QueryError(store.failing_views[view])


def _groups(ids: NDArray[np.int32], hashes: pa.ChunkedArray) -> NDArray[np.int64]:
    """The smallest of the ``ids`` (ascending) that have the same content; without content each is its own."""
    encoded = arrow.one_chunk(hashes).dictionary_encode()
    if len(encoded.dictionary) == len(ids):
        return ids.astype(np.int64)
    codes = arrow.to_numpy(encoded.indices)
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    groups = ids[first][inverse].astype(np.int64)
    alone = arrow.to_numpy(pc.binary_length(hashes)) == 0
    groups[alone] = ids[alone]
    return groups
