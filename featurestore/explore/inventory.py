"""The backbones of a state: what made their vectors, and how many images have one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from featurestore.storage.names import quote_name

if TYPE_CHECKING:
    from featurestore.catalog.reader import Reader


@dataclass(frozen=True)
class BackboneInfo:
    """A backbone in the store: its current revision and how many usable images have an embedding of it."""

    name: str
    revision: str
    embed_dim: int
    rows: int
    images: int
    weights: str
    source: str
    synthetic: bool
    preprocessing: Mapping[str, object]
    libraries: Mapping[str, str]


def list_backbones(reader: "Reader") -> list[BackboneInfo]:
    """See `FeatureStore.backbones`."""
    with reader.reading() as seen:
        return _listed(seen)


def _listed(reader: "Reader") -> list[BackboneInfo]:
    rows = reader.query("SELECT * FROM backbones ORDER BY backbone").to_pylist()
    images = _count(reader, "images_usable")
    return [
        BackboneInfo(
            name=row["backbone"],
            revision=row["revision"],
            embed_dim=row["embed_dim"],
            rows=_count(reader, f"embeddings_{row['backbone']}"),
            images=images,
            weights=row["weights"],
            source=row["source"],
            synthetic=row["synthetic"],
            preprocessing=json.loads(row["preprocessing"]),
            libraries=json.loads(row["libraries"]),
        )
        for row in rows
        if reader.state.revisions.get(row["backbone"]) == row["revision"]
    ]


def _count(reader: "Reader", view: str) -> int:
    return int(reader.query(f"SELECT count(*) AS n FROM {quote_name(view)}")["n"][0].as_py())
