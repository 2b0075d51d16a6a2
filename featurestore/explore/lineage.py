"""Where the vectors of one image came from."""

import json
from typing import TYPE_CHECKING, Any

from featurestore.errors import InputError
from featurestore.storage.schemas import IMAGES, MAX_ID

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader

QUERY = """
SELECT
    e.backbone, e.revision, e.content_hash, e.part,
    b.embed_dim, b.weights, b.source, b.licence, b.synthetic, b.preprocessing, b.options,
    x.extraction, x.at, x.libraries, x.precision, x.machine
FROM embeddings AS e
JOIN backbones AS b ON b.backbone = e.backbone AND b.revision = e.revision
JOIN extractions AS x ON x.extraction = e.extraction AND x.backbone = e.backbone
WHERE e.ImgId = ?
ORDER BY e.backbone, x.extraction
"""


def lineage(reader: "Reader", img_id: int) -> dict[str, Any]:
    """The image with this id, and each vector that the store holds for it, ready for JSON.

    An image that no folder has any more has the status ``gone``; its vectors are told of nevertheless.
    ``current`` tells of each vector whether the views show it: it is of the backbone's current revision, and the file
    is still the one that was embedded.

    Raises
    ------
    InputError
        When the store knows no such image, and holds no vector of it.
    """
    images, vectors = [], []
    if 0 <= img_id <= MAX_ID:
        images = reader.query("SELECT * FROM images WHERE ImgId = ? ORDER BY status DESC", [img_id]).to_pylist()
        vectors = reader.query(QUERY, [img_id]).to_pylist()
    if not images and not vectors:
        raise InputError(
            f'the store has no image with ImgId {img_id}: see `featurestore sql "SELECT ImgId FROM images"`'
        )
    image = images[0] if images else dict.fromkeys(IMAGES.names) | {"ImgId": img_id, "status": "gone"}
    for vector in vectors:
        vector["part"] = vector["part"].rpartition("/embeddings/")[2] or vector["part"]
        vector["at"] = vector["at"].isoformat()
        vector["dtype"] = "float32"
        for name in ("preprocessing", "options", "libraries"):
            vector[name] = json.loads(vector[name])
        shown = reader.state.revisions.get(vector["backbone"]) == vector["revision"]
        vector["current"] = bool(images) and shown and vector["content_hash"] in ("", image["content_hash"])
    return {"state": reader.state.id, "image": image, "embeddings": vectors}


def render(record: dict[str, Any]) -> str:
    """The same for a person."""
    image = record["image"]
    facts = f"{image['width']} × {image['height']} {image['mode']}" if image["width"] else image["reason"]
    lines = [
        f"image       {image['ImgName'] or image['ImgId']}  ({', '.join(filter(None, (image['status'], facts)))})",
        f"content     sha256:{image['content_hash'] or 'unknown'}",
        f"state       {record['state']}",
    ]
    for vector in record["embeddings"]:
        mark = "" if vector["current"] else "  (not shown: older image or revision)"
        mark += "  SYNTHETIC WEIGHTS" if vector["synthetic"] else ""
        libraries = ", ".join(f"{name} {number}" for name, number in vector["libraries"].items()) or "not recorded"
        preprocessing = ", ".join(f"{name} {value}" for name, value in vector["preprocessing"].items())
        lines += [
            f"embedding   {vector['backbone']} revision {vector['revision']}, {vector['embed_dim']}-d float32{mark}",
            f"  from      sha256:{vector['content_hash'] or 'unknown'}",
            f"  weights   {vector['weights']}  ({vector['source']})",
            f"  input     {preprocessing}",
            f"  computed  {vector['at']} on {vector['machine']}, with {libraries}",
            f"  part      {vector['part']}",
        ]
    if not record["embeddings"]:
        lines.append("embedding   none")
    return "\n".join(lines)
