"""Selects the rows of a view, one per image, and builds `Features` from them and their vectors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.errors import InputError
from featurestore.features.features import Features
from featurestore.features.image_index import ImageIndex, find_places, image_index
from featurestore.features.places import Places
from featurestore.features.pull import read_vectors
from featurestore.features.selection import Selection, find_sorted, matching, refuse_absent
from featurestore.storage.names import nearest, quote_name
from featurestore.storage.schemas import MAX_ID

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader


class ViewRows(NamedTuple):
    """Rows of a view, the index of each row's image in the `ImageIndex`, and the `ids` of `Features`.

    Cached rows also hold `groups`, which take a quarter of the time of reading the vectors.
    """

    table: pa.Table
    ids: NDArray[np.int32]
    images: NDArray[np.intp]
    groups: NDArray[np.int64] | None = None

    def take(self, chosen: NDArray[np.intp]) -> "ViewRows":
        return ViewRows(self.table.take(arrow.from_numpy(chosen)), self.ids[chosen], self.images[chosen])


# A reader caches the rows of the last request, which bench and search often repeat: they cost a query.
MEMO = "rows"
ALL = Selection()
# Ids are selected by their range if that holds at most so many ids for each: a row that is read in vain costs less than
# an id in a list.
SPARSE = 3


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
    names = backbone_names(reader, backbones)
    index = image_index(reader)
    if selection.where is None and selection.ids is None:
        rows = _all_rows(reader, index, view, columns, label)
    else:
        rows = chosen_rows(reader, index, view, view_columns(reader, view, columns, label), selection)
    rows, places, missing = embedded_rows(reader, index, names, rows, selection)
    matrices = [read_vectors(places[name], rows.images, reader.layout.dim(name)) for name in names]
    return Features(
        X=matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1),
        ids=rows.ids,
        table=rows.table,
        groups=index.groups(rows.images) if rows.groups is None else rows.groups.copy(),  # the caller may change it
        missing=missing,
        backbone="+".join(names),
        revision="+".join(reader.state.revisions[name] for name in names),
        state_id=reader.state.id,
        synthetic=index.is_synthetic(names),
        dims=tuple((name, reader.layout.dim(name)) for name in names),
        label=label,
    )


def backbone_names(reader: "Reader", backbones: str | Sequence[str]) -> list[str]:
    """The names of one or several backbones, each once.

    Raises
    ------
    InputError
        When there is none, or the store has no such backbone.
    """
    names = [backbones] if isinstance(backbones, str) else list(dict.fromkeys(backbones))
    have = reader.state.revisions
    if not names:
        raise InputError(f"got no backbone, expected one or more of {', '.join(sorted(have)) or 'none yet'}")
    for name in names:
        if name not in have:
            raise InputError(
                f"the store has no backbone {name!r} ({nearest(name, have)}): run `featurestore embed` first"
            )
    return names


def embedded_rows(
    reader: "Reader", index: ImageIndex, names: Sequence[str], rows: ViewRows, selection: Selection
) -> tuple[ViewRows, dict[str, Places], int]:
    """Those of ``rows`` that have a vector of each backbone, at most ``selection.limit``.

    Returns
    -------
    The rows, the locations of the vectors of each backbone, and the number of rows without a vector.

    Raises
    ------
    InputError
        When an image that was requested by its id has no vector.
    """
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
    return rows.take(kept) if len(kept) < len(found) else rows, places, int((~found).sum())


def _all_rows(
    reader: "Reader", index: ImageIndex, view: str, columns: Sequence[str] | None, label: str | None
) -> ViewRows:
    """All rows of a view; cached if the last call was the same on the same state."""
    key = (view, columns if columns is None or isinstance(columns, str) else tuple(columns), label)
    last = reader.memo.get(MEMO)
    if last is not None and last[0] == key:
        return last[1]
    rows = view_rows(reader, index, view, view_columns(reader, view, columns, label))
    rows.ids.flags.writeable = False  # shared with later results
    rows = rows._replace(groups=index.groups(rows.images))
    pa.default_memory_pool().release_unused()  # free the query's memory before the matrix is allocated
    reader.database.release_unused()
    reader.memo[MEMO] = (key, rows)
    return rows


def chosen_rows(
    reader: "Reader", index: ImageIndex, view: str, columns: Sequence[str], selection: Selection
) -> ViewRows:
    """The rows of a view that satisfy the condition; with ids, only those of the ids, in their order.

    Raises
    ------
    InputError
        When the view lacks one of the ids.
    QueryError
        When the condition is refused or fails.
    """
    allowed = None if selection.where is None else matching(reader, view, selection.where)
    ids = selection.ids
    if ids is None:
        return view_rows(reader, index, view, columns, only=allowed)
    rows = view_rows(reader, index, view, columns, only=np.unique(ids))
    place, there = find_sorted(rows.ids, ids)
    remedy = "leave them out, or name a view that has them, as `images_usable` has every image"
    refuse_absent(ids, there, what=f"the view {view!r} lacks", remedy=remedy)
    return rows.take(place if allowed is None else place[find_sorted(allowed, ids)[1]])


def view_columns(reader: "Reader", view: str, columns: str | Sequence[str] | None, label: str | None) -> list[str]:
    """The columns of ``view`` to read: `ImgId`, then the requested ones.

    Raises
    ------
    InputError
        When there is no such view or column.
    """
    names = reader.columns(view)
    columns = [columns] if isinstance(columns, str) else columns
    wanted = [
        *(columns if columns is not None else (n for n in names if n != "embedding")),
        *([label] if label else []),
    ]
    for name in ["ImgId", *wanted]:
        if name not in names:
            raise InputError(f"the view {view!r} has no column {name!r} ({nearest(name, names)})")
    return list(dict.fromkeys(["ImgId", *wanted]))


def view_rows(
    reader: "Reader",
    index: ImageIndex,
    view: str,
    columns: Sequence[str],
    *,
    only: NDArray[np.integer] | None = None,
) -> ViewRows:
    """The rows of ``view`` with a usable image, by ascending id.

    Parameters
    ----------
    columns
        Those to read, beginning with `ImgId`.
    only
        ``(m,)``, ascending: return only the rows with these ids.

    Raises
    ------
    InputError
        When an image has two rows.
    """
    first, last = (0, MAX_ID) if only is None else _ends(only)
    dense = only is None or last - first < SPARSE * len(only)
    join = "" if dense else "SEMI JOIN (SELECT unnest(?::BIGINT[]) AS ImgId) AS w ON w.ImgId = v.ImgId "
    table = reader.query(
        f"SELECT {', '.join(f'v.{quote_name(name)}' for name in columns)} FROM {quote_name(view)} AS v {join}"
        f"WHERE v.ImgId BETWEEN {first:d} AND {last:d} ORDER BY v.ImgId",
        None if only is None or dense else [only.tolist()],
    )
    # A copy: otherwise DuckDB's buffers are kept as long as the rows.
    table = table.set_column(0, "ImgId", table["ImgId"].cast(pa.int32())).combine_chunks()
    ids = arrow.to_numpy(table["ImgId"])
    images, usable = find_sorted(index.ids, ids)
    if only is not None and dense:
        usable &= find_sorted(only, ids)[1]
    rows = ViewRows(table, ids, images)
    if not usable.all():
        rows = rows.take(np.flatnonzero(usable))
    twice = rows.ids[1:][rows.ids[1:] == rows.ids[:-1]]
    if len(twice):
        raise InputError(
            f"the view {view!r} yields ImgId {twice[0]} more than once: a feature view has one row per image"
        )
    return rows


def _ends(ids: NDArray[np.integer]) -> tuple[int, int]:
    """The first and the last of ascending ``ids`` that an image can have; an empty range if there are none."""
    return (max(int(ids[0]), 0), min(int(ids[-1]), MAX_ID)) if len(ids) else (0, -1)
