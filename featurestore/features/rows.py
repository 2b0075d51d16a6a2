"""From a view to `Features`: its rows, one an image, and the vectors that belong to them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.errors import InputError
from featurestore.features.features import Features
from featurestore.features.image_index import ImageIndex, find_places, image_index
from featurestore.features.pull import read_vectors
from featurestore.features.selection import Selection, find_sorted, matching, refuse_absent
from featurestore.storage.names import nearest, quote_name
from featurestore.storage.schemas import MAX_ID

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader


class _Rows(NamedTuple):
    """Rows of a view, the number of the image of each in the `ImageIndex`, and the `ids` of `Features`.

    Those that are kept for the next call hold its `groups` too, which take as long as a quarter of the vectors.
    """

    table: pa.Table
    ids: NDArray[np.int32]
    images: NDArray[np.intp]
    groups: NDArray[np.int64] | None = None

    def take(self, chosen: NDArray[np.intp]) -> "_Rows":
        return _Rows(self.table.take(arrow.from_numpy(chosen)), self.ids[chosen], self.images[chosen])


# A reader keeps the rows that it was asked for last: asked for again, as bench and search do, they cost a query.
MEMO = "rows"
ALL = Selection()


def read(
    reader: "Reader",
    backbones: str | Sequence[str],
    *,
    view: str,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    selection: Selection = ALL,
) -> Features:
    """See `FeatureStore.features`."""
    with reader.reading() as seen:
        return _read(seen, backbones, view, columns, label, selection)


def _read(
    reader: "Reader",
    backbones: str | Sequence[str],
    view: str,
    columns: Sequence[str] | None,
    label: str | None,
    selection: Selection,
) -> Features:
    names = [backbones] if isinstance(backbones, str) else list(dict.fromkeys(backbones))
    columns = [columns] if isinstance(columns, str) else columns
    _check_backbones(reader, names)
    index = image_index(reader)
    if selection.where is None and selection.ids is None:
        rows = _all_rows(reader, index, view, columns, label)
    else:
        rows = _chosen_rows(reader, index, view, columns, label, selection)
    places = {name: find_places(reader, index, name, rows.images) for name in names}
    found = np.ones(len(rows.ids), bool)
    for name in names:
        found &= places[name].file[rows.images] >= 0
    if selection.ids is not None:
        remedy = "leave them out, or run `featurestore embed` first"
        refuse_absent(
            rows.ids, found, what=f"no embedding of {' and '.join(map(repr, names))} is there for", remedy=remedy
        )
    kept = np.flatnonzero(found)[: selection.limit]
    if len(kept) < len(found):
        rows = rows.take(kept)
    matrices = [read_vectors(places[name], rows.images, reader.layout.dim(name)) for name in names]
    return Features(
        X=matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1),
        ids=rows.ids,
        table=rows.table,
        groups=index.groups(rows.images) if rows.groups is None else rows.groups.copy(),  # the caller's own
        missing=int((~found).sum()),
        backbone="+".join(names),
        revision="+".join(reader.state.revisions[name] for name in names),
        state_id=reader.state.id,
        synthetic=index.synthetic or not index.made_up.isdisjoint(names),
        dims=tuple((name, reader.layout.dim(name)) for name in names),
        label=label,
    )


def _check_backbones(reader: "Reader", names: Sequence[str]) -> None:
    have = reader.state.revisions
    if not names:
        raise InputError(f"got no backbone, expected one or more of {', '.join(sorted(have)) or 'none yet'}")
    for name in names:
        if name not in have:
            listed = ", ".join(sorted(have)) or "none yet"
            raise InputError(f"the store has no backbone {name!r} (it has: {listed}): run `featurestore embed` first")


def _all_rows(
    reader: "Reader", index: ImageIndex, view: str, columns: Sequence[str] | None, label: str | None
) -> _Rows:
    """All rows of a view, those of the last call where it was the same on the same state."""
    key = (view, None if columns is None else tuple(columns), label)
    last = reader.memo.get(MEMO)
    if last is not None and last[0] == key:
        return last[1]
    rows = _view_rows(reader, index, view, _columns(reader, view, columns, label))
    rows.ids.flags.writeable = False  # shared with every later answer
    rows = rows._replace(groups=index.groups(rows.images))
    pa.default_memory_pool().release_unused()  # what finding them took: the matrix comes next
    reader.database.release_unused()
    reader.memo[MEMO] = (key, rows)
    return rows


def _chosen_rows(
    reader: "Reader",
    index: ImageIndex,
    view: str,
    columns: Sequence[str] | None,
    label: str | None,
    selection: Selection,
) -> _Rows:
    """The rows of a view that satisfy the condition, or those of the ids, in their order, that do."""
    kept = _columns(reader, view, columns, label)
    allowed = None if selection.where is None else matching(reader, view, selection.where)
    ids = selection.ids
    if ids is None:
        return _view_rows(reader, index, view, kept, only=allowed)
    rows = _view_rows(reader, index, view, kept, only=np.unique(ids))
    place, there = find_sorted(rows.ids, ids)
    remedy = "leave them out, or name a view that has them, as `images_usable` has every image"
    refuse_absent(ids, there, what=f"the view {view!r} lacks", remedy=remedy)
    return rows.take(place if allowed is None else place[find_sorted(allowed, ids)[1]])


def _columns(reader: "Reader", view: str, columns: Sequence[str] | None, label: str | None) -> list[str]:
    """The columns of ``view`` to read: `ImgId`, then what was asked for."""
    names = reader.columns(view)
    wanted = [
        *(columns if columns is not None else (n for n in names if n != "embedding")),
        *([label] if label else []),
    ]
    for name in ["ImgId", *wanted]:
        if name not in names:
            raise InputError(f"the view {view!r} has no column {name!r} ({nearest(name, names)})")
    return list(dict.fromkeys(["ImgId", *wanted]))


def _view_rows(
    reader: "Reader",
    index: ImageIndex,
    view: str,
    columns: Sequence[str],
    *,
    only: NDArray[np.integer] | None = None,
) -> _Rows:
    """The rows of ``view`` that are of a usable image, ascending; ``only`` those of some ids."""
    join = "" if only is None else "SEMI JOIN (SELECT unnest(?::BIGINT[]) AS ImgId) AS w ON w.ImgId = v.ImgId "
    table = reader.query(
        f"SELECT {', '.join(f'v.{quote_name(name)}' for name in columns)} FROM {quote_name(view)} AS v {join}"
        f"WHERE v.ImgId BETWEEN 0 AND {MAX_ID} ORDER BY v.ImgId",
        None if only is None else [only.tolist()],
    )
    # In memory of its own: else DuckDB's buffers live as long as the rows.
    table = table.set_column(0, "ImgId", table["ImgId"].cast(pa.int32())).combine_chunks()
    ids = arrow.to_numpy(table["ImgId"])
    images, usable = find_sorted(index.ids, ids)
    rows = _Rows(table, ids, images)
    if not usable.all():
        rows = rows.take(np.flatnonzero(usable))
    twice = rows.ids[1:][rows.ids[1:] == rows.ids[:-1]]
    if len(twice):
        raise InputError(
            f"the view {view!r} yields ImgId {twice[0]} more than once: a feature view has one row an image"
        )
    return rows
