"""What the explorer says of a store as a whole, and of single images, ready for JSON; it draws no map."""

import datetime
import decimal
import math
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from featurestore.errors import InputError
from featurestore.explore.page import likeness, projection
from featurestore.explore.page.columns import VIEW, columns
from featurestore.explore.page.images import image_id
from featurestore.explore.page.shown import image_ids
from featurestore.features.labels import label_text
from featurestore.storage.names import quote_name

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

MOST_ROWS, NEIGHBOURS = 200, 12
# The longest text of a cell that the page gets.
MOST_CHARACTERS = 5_000


def meta(store: "Explorer") -> dict[str, Any]:
    """The store's images, backbones, maps, columns and views."""
    shown = store.backbones()
    stored = projection.maps(store)
    maps = [{"backbone": info.name, "method": projection.PCA, "rows": info.rows} for info in shown]
    maps += [{"backbone": name, "method": method, "rows": rows} for (name, method), rows in stored.items()]
    return {
        "store": PurePosixPath(store.location.partition("?")[0]).name,
        "snapshot": store.snapshot_name,
        "state": store.state.id,
        "synthetic": store.synthetic or any(info.synthetic for info in shown),
        "count": len(image_ids(store)),
        "label": store.label,
        "title": store.title,
        "backbones": [
            {
                "name": info.name,
                "dim": info.embed_dim,
                "rows": info.rows,
                "synthetic": info.synthetic,
                "text": likeness.has_texts(info.options, info.source),
            }
            for info in shown
        ],
        "maps": maps,
        "columns": [{"name": one.name, "kind": one.kind, "distinct": one.distinct} for one in columns(store).values()],
        "views": list(store.views()),
    }


def image(store: "Explorer", img_id: int) -> dict[str, Any]:
    """One image: its row in `collection`, where its vectors came from, its neighbours by each backbone.

    Raises
    ------
    InputError
        When the store has no such image.
    """
    lineage = store.lineage(img_id)
    embedded = sorted({vector["backbone"] for vector in lineage["embeddings"] if vector["current"]})
    found = store.query(f"FROM {VIEW} WHERE ImgId = ?", [img_id]).to_pylist()
    return {
        "ImgId": img_id,
        "row": jsonable(found[0] if found else {"ImgId": img_id, "ImgName": lineage["image"]["ImgName"]}),
        "lineage": jsonable(lineage),
        "corrections": jsonable(lineage["corrections"]),
        "neighbours": {name: likeness.similar(store, name, img_id=img_id, k=NEIGHBOURS) for name in embedded},
    }


def listed_ids(texts: Sequence[str]) -> list[int]:
    """At most `MOST_ROWS` ids as numbers; raises `InputError` if there are more, or one is no ImgId."""
    if len(texts) > MOST_ROWS:
        raise InputError(f"got {len(texts):,} ids, expected at most {MOST_ROWS}")
    return [image_id(text) for text in texts]


def rows(store: "Explorer", ids: Sequence[int]) -> list[dict[str, Any]]:
    """The usable images among ``ids``, in their order: ``ImgId``, ``title``, ``label``, ``name``, and all columns."""
    names = [name for name in columns(store) if name != "ImgName"]
    listed = "".join(f", c.{quote_name(name)}" for name in names)
    found = store.query(
        f"SELECT i.ImgId, i.ImgName{listed} FROM images_usable AS i LEFT JOIN {VIEW} AS c ON c.ImgId = i.ImgId "
        "WHERE i.ImgId IN (SELECT unnest(?::INTEGER[]))",
        [list(ids)],
    ).to_pylist()
    by_id = {row["ImgId"]: row for row in found}
    return [_row(store, by_id[img_id]) for img_id in dict.fromkeys(ids) if img_id in by_id]


def _row(store: "Explorer", row: dict[str, Any]) -> dict[str, Any]:
    fixed = {
        "ImgId": row["ImgId"],
        "title": label_text(row.get(store.title)) or row["ImgName"],
        "label": label_text(row.get(store.label)),
        "name": row["ImgName"],
    }
    return {**{name: jsonable(value) for name, value in row.items()}, **fixed}


def jsonable(value: Any) -> Any:
    """A value of a table as JSON has it: NaN and infinity become null, times text, long text is cut."""
    if isinstance(value, dict):
        return {str(name): jsonable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(inner) for inner in value]
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.date, datetime.datetime, datetime.time)):
        return value.isoformat()
    if value is None or isinstance(value, (bool, int)):
        return value
    text = str(value)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " …"
