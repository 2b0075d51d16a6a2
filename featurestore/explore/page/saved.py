"""Saves a selection of images as rows of the table `selections` and a small view, or a condition as a view."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from featurestore import arrow
from featurestore.catalog import views
from featurestore.catalog.append import append
from featurestore.errors import InputError
from featurestore.explore.page.shown import image_ids
from featurestore.features.selection import check_ids, matching
from featurestore.storage.names import check_identifier, quote_name, quote_text

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

TABLE = "selections"
SCHEMA = pa.schema([pa.field("selection", pa.string(), nullable=False), pa.field("ImgId", pa.int32(), nullable=False)])
# Seconds that a change waits for another writer before the page is told who it is.
WAIT_SECONDS = 2.0


def save_ids(store: "Explorer", name: str, ids: Sequence[int]) -> dict[str, Any]:
    """Save the images ``ids`` as the selection ``name``: rows of a table, since a view with many ids slows each open.

    Returns
    -------
    The name, the number of images saved, and how many of them `labeled` has: the rows of the view.

    Raises
    ------
    InputError
        When the name is in use or no lower-case identifier, or there is no such image.
    StoreLocked
        When another process is writing.
    """
    _check_free(store, name)
    chosen = np.unique(check_ids(ids))
    if not len(chosen):
        raise InputError("got no images: select some first")
    unknown = chosen[~np.isin(chosen, image_ids(store))]
    if len(unknown):
        raise InputError(f"the store has no usable image with the ImgId {unknown[0]}: reload the page")
    rows = pa.table([pa.array([name] * len(chosen), pa.string()), arrow.from_numpy(chosen)], schema=SCHEMA)
    append(store.objects, {TABLE: rows}, wait_seconds=WAIT_SECONDS)
    query = f"SELECT * FROM labeled WHERE ImgId IN (SELECT ImgId FROM {TABLE} WHERE selection = {quote_text(name)})"
    labelled = views.create(store.objects, name, query, wait_seconds=WAIT_SECONDS)
    return {"name": name, "saved": len(chosen), "in_labeled": labelled}


def save_condition(store: "Explorer", name: str, where: str) -> dict[str, Any]:
    """Save the images for which ``where`` holds as the view ``name``, which changes with them; returns as `save_ids`.

    Raises
    ------
    InputError
        When the name is in use or no lower-case identifier.
    QueryError
        When the condition is refused or fails, or gives something else at each call.
    StoreLocked
        When another process is writing.
    """
    _check_free(store, name)
    found = matching(store, "collection", where)
    query = f"SELECT * FROM labeled WHERE ({where}\n)"
    labelled = views.create(store.objects, name, query, wait_seconds=WAIT_SECONDS)
    return {"name": name, "saved": len(found), "in_labeled": labelled}


def selections(store: "Explorer") -> list[dict[str, Any]]:
    """The saved selections of images, each with its number of images, by name."""
    if TABLE not in store.state.tables:
        return []
    return store.query(
        f"SELECT selection AS name, count(DISTINCT ImgId) AS {quote_name('count')} FROM {TABLE} GROUP BY 1 ORDER BY 1"
    ).to_pylist()


def selected_ids(store: "Explorer", name: str) -> list[int]:
    """The images of the selection ``name``, ascending; none if there is no such selection."""
    if TABLE not in store.state.tables:
        return []
    query = f"SELECT DISTINCT ImgId FROM {TABLE} WHERE selection = ? ORDER BY ImgId"
    return store.query(query, [name])["ImgId"].to_pylist()


def _check_free(store: "Explorer", name: str) -> None:
    """Refuse a name before anything is written; whether a view can have it is checked where that is made."""
    check_identifier(name, "selection")
    if name in store.state.views or name in {one["name"] for one in selections(store)}:
        raise InputError(f"there is a selection or a view {name!r} already: use another name")
    if name in store.database.views:
        raise InputError(f"{name!r} is the name of a view of the store itself: use another name")
