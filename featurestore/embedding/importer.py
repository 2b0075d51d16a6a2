"""Vectors that were computed elsewhere become rows of the store; `vector_files` reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.catalog.views import failing_after
from featurestore.catalog.writer import Writer, open_writer
from featurestore.collections.ingest import image_rows
from featurestore.collections.scan import images_table
from featurestore.embedding.staging import present_rows, publish_vectors, replaced_revision
from featurestore.embedding.vector_files import ImportedVectors, read_vectors_file
from featurestore.files import file_hash
from featurestore.storage.names import check_identifier


@dataclass(frozen=True)
class ImportReport:
    """What one import did.

    ``rows`` vectors were in the file, ``added`` are new in the store, ``external`` belong to images that no folder
    has yet. ``replaced`` is the revision that the views of the backbone showed before, empty where it is the same or
    there was none; ``failing_views`` says of your views which can't be used then.
    """

    backbone: str
    revision: str
    embed_dim: int
    rows: int
    added: int
    external: int
    replaced: str = ""
    failing_views: Mapping[str, str] = field(default_factory=dict)


def import_embeddings(
    root: Path,
    file: Path,
    *,
    backbone: str,
    ids: Path | None = None,
    synthetic: bool = False,
    wait_seconds: float = 0.0,
) -> ImportReport:
    """See `FeatureStore.import_embeddings`."""
    check_identifier(backbone, "backbone")
    vectors = read_vectors_file(file, ids)
    spec = BackboneSpec(
        name=backbone,
        embed_dim=vectors.X.shape[1],
        preprocessing=Preprocessing(),
        weights=f"imported sha256:{file_hash(file)}",
        source=f"imported from {file.name}",
        synthetic=synthetic,
    )
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"import {backbone}") as writer:
        writer.check_backbone(backbone)
        replaced = replaced_revision(writer, spec)
        external = _add_external(writer, vectors)
        hash_of = {row["ImgId"]: row["content_hash"] for row in image_rows(writer) if row["status"] != "broken"}
        there = set(present_rows(writer, spec)["ImgId"].to_pylist())
        order = [row for row in np.argsort(vectors.ids, kind="stable").tolist() if int(vectors.ids[row]) not in there]
        chosen = [int(vectors.ids[row]) for row in order]
        publish_vectors(writer, spec, ids=chosen, hashes=[hash_of.get(i, "") for i in chosen], vectors=vectors.X[order])
    return ImportReport(
        backbone=backbone,
        revision=spec.revision,
        embed_dim=spec.embed_dim,
        rows=len(vectors.ids),
        added=len(chosen),
        external=external,
        replaced=replaced,
        failing_views=failing_after(root, writer.state, replaced),
    )


def _add_external(writer: Writer, vectors: ImportedVectors) -> int:
    """Give every id that the store has never seen a row in `images`, so that views can join it."""
    rows = image_rows(writer)
    seen = {row["ImgId"] for row in rows}
    new: list[dict[str, Any]] = [
        {
            "ImgId": int(img_id),
            "ImgName": name,
            "content_hash": "",
            "size_bytes": 0,
            "width": None,
            "height": None,
            "mode": None,
            "phash": None,
            "status": "external",
            "reason": None,
            "synthetic": False,
            "folder": "",
        }
        for img_id, name in zip(vectors.ids, vectors.names, strict=True)
        if int(img_id) not in seen
    ]
    if new:
        with writer.commit() as commit:
            commit.replace("images", images_table([*rows, *new]))
    return len(new)
