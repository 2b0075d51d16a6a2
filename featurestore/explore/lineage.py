"""Reports where the vectors of one image came from; it reads records only, no vectors."""

from typing import TYPE_CHECKING, Any

from featurestore.backbones.preprocessing import Preprocessing, changed
from featurestore.embedding.provenance import engine_text, libraries_and_device
from featurestore.errors import BackboneError, InputError
from featurestore.files import json_object
from featurestore.storage.schemas import IMAGES, MAX_ID

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader

CORRECTIONS = 'SELECT "column", "from", "to", "at", undone FROM corrections WHERE ImgId = ? ORDER BY "at", "column"'
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
    """See `FeatureStore.lineage`."""
    images, vectors, corrections = [], [], []
    if 0 <= img_id <= MAX_ID:
        images = reader.query("SELECT * FROM images WHERE ImgId = ? ORDER BY status DESC", [img_id]).to_pylist()
        vectors = reader.query(QUERY, [img_id]).to_pylist()
        corrections = reader.query(CORRECTIONS, [img_id]).to_pylist()
    if not images and not vectors:
        raise InputError(
            f'the store has no image with ImgId {img_id}: see `featurestore sql "SELECT ImgId FROM images"`'
        )
    image = images[0] if images else dict.fromkeys(IMAGES.names) | {"ImgId": img_id, "status": "gone"}
    for vector in vectors:
        vector["part"] = vector["part"].removeprefix("embeddings/")
        vector["at"] = vector["at"].isoformat()
        vector["dtype"] = "float32"
        vector["engine"] = engine_text(vector["libraries"], vector["precision"])
        vector["libraries"], vector["device"] = libraries_and_device(vector["libraries"])
        for name in ("preprocessing", "options"):
            vector[name] = json_object(vector[name], f"the {name} of {vector['backbone']!r} in the table `backbones`")
        vector["input"] = _input(vector["preprocessing"])
        shown = reader.state.revisions.get(vector["backbone"]) == vector["revision"]
        vector["current"] = bool(images) and shown and vector["content_hash"] in ("", image["content_hash"])
    for correction in corrections:
        correction |= {name: time and time.isoformat() for name in ("at", "undone") for time in [correction[name]]}
    forgotten_at = reader.state.forgotten_at or None
    return {
        "state": reader.state.id,
        "forgotten_at": forgotten_at,
        "image": image,
        "corrections": corrections,
        "embeddings": vectors,
    }


def _input(preprocessing: dict[str, Any]) -> str:
    """The preprocessing in words; one with fields of a later version field by field."""
    try:
        return changed(Preprocessing(), preprocessing).describe()
    except BackboneError:
        return ", ".join(f"{name} {value}" for name, value in preprocessing.items())
