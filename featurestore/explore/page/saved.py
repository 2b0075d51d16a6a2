"""Saves a selection of images as rows of the table `selections` and a small view, or a condition as a view."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.catalog import views
from featurestore.catalog.commit import Commit, read_whole
from featurestore.catalog.recipe import own_names
from featurestore.catalog.writer import Writer, open_writer
from featurestore.errors import InputError
from featurestore.explore.page import projection
from featurestore.explore.page.shown import SECONDS, has_table, image_ids
from featurestore.features.selection import check_ids, matching
from featurestore.storage.names import check_identifier, check_names, quote_name, quote_text, well_named

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

TABLE = "selections"
SCHEMA = pa.schema([pa.field("selection", pa.string(), nullable=False), pa.field("ImgId", pa.int32(), nullable=False)])
# Seconds that a change waits for another writer before the page is told who it is.
WAIT_SECONDS = 2.0


def save(store: "Explorer", sent: dict[str, Any]) -> dict[str, Any]:
    """Save what the page sent: ``{"name", "ids"}`` or ``{"name", "where"}``; returns and raises as these two."""
    name, condition = sent.get("name"), sent.get("where")
    if not isinstance(name, str) or ("ids" in sent) == ("where" in sent):
        raise InputError("expected a name, and either ids or where")
    if "ids" in sent:
        return save_ids(store, name, sent["ids"])
    if not isinstance(condition, str):
        raise InputError("expected a condition in SQL as where")
    return save_condition(store, name, condition)


def save_ids(store: "Explorer", name: str, ids: object) -> dict[str, Any]:
    """Save the images ``ids`` as the selection ``name``: rows of a table, since a view with many ids slows each open.

    Returns
    -------
    The name, the number of images saved, and the rows of the view: those of them that have a label, if any image has.

    Raises
    ------
    InputError
        When the name is in use or no lower-case identifier, or there is no such image.
    StoreLocked
        When another process is writing.
    """
    chosen = np.unique(check_ids(ids))
    if not len(chosen):
        raise InputError("got no images: select some first")
    unknown = chosen[~np.isin(chosen, image_ids(store))]
    if len(unknown):
        raise InputError(f"the store has no usable image with the ImgId {unknown[0]}: reload the page")
    check_identifier(name, "view")
    with open_writer(store.objects, wait_seconds=WAIT_SECONDS, purpose=f"selection {name}") as writer:
        _refuse_taken(writer, name)
        with writer.commit() as commit:
            _put(writer, commit, name, chosen)
            commit.set_view(name, f"SELECT * FROM {_base(store)} WHERE ImgId IN ({_members(name)})")
    return {"name": name, "saved": len(chosen), "in_view": _rows(store, name)}


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
    if not where.strip():
        raise InputError("got an empty condition: filter first")
    found = matching(store, "collection", where, seconds=SECONDS)
    query = f"SELECT * FROM {_base(store)} WHERE ({where}\n)"
    rows = views.create(store.objects, name, query, wait_seconds=WAIT_SECONDS, seconds=SECONDS)
    return {"name": name, "saved": len(found), "in_view": rows}


def selections(store: "Explorer") -> list[dict[str, Any]]:
    """The saved selections of images with their numbers of images, by name, without those whose view was removed."""
    if not has_table(store, TABLE, SCHEMA):
        return []
    rows = store.query(f"SELECT selection AS name, count(*)::INTEGER AS n FROM {TABLE} GROUP BY 1 ORDER BY 1")
    return [{"name": row["name"], "count": row["n"]} for row in rows.to_pylist() if row["name"] in store.state.views]


def _members(name: str) -> str:
    return f"SELECT ImgId FROM {TABLE} WHERE selection = {quote_text(name)}"


def _base(store: "Explorer") -> str:
    """The view whose rows a selection has: `labeled`, for the bench; `collection` where no image has a label."""
    return "labeled" if len(store.query("SELECT ImgId FROM labeled LIMIT 1")) else "collection"


def _rows(store: "Explorer", name: str) -> int:
    """The number of rows of a saved view, in the newest state."""
    with type(store)(store.location) as newest:
        return int(newest.query(f"SELECT count(*) AS n FROM {quote_name(name)}")["n"][0].as_py())


def _refuse_taken(writer: Writer, name: str) -> None:
    state = writer.state
    if name in state.views:
        raise InputError(f"there is a view {name!r} already: use another name")
    own = own_names(state.collection)
    known = well_named(state.tables, state.revisions, state.views, own=own)
    check_names([*state.tables, TABLE, projection.TABLE], state.revisions, [*known, name], own=own)


def _put(writer: Writer, commit: Commit, name: str, ids: NDArray[np.int32]) -> None:
    """Add the rows of a selection; those that a removed one of this name has left are replaced."""
    if TABLE in writer.layout.tables and not writer.layout.schema(TABLE).equals(SCHEMA):
        raise InputError(f"the store has a table {TABLE!r} with other columns: selections can't be saved in it")
    rows = pa.table([pa.array([name] * len(ids), pa.string()), arrow.from_numpy(ids)], schema=SCHEMA)
    there = pa.concat_tables(
        [SCHEMA.empty_table(), *(read_whole(writer.objects, part) for part in commit.parts(TABLE))]
    )
    others = there.filter(pc.not_equal(there["selection"], name))
    if len(others) == len(there):
        commit.append(TABLE, rows)
    else:
        commit.replace(TABLE, pa.concat_tables([others, rows]).combine_chunks())
