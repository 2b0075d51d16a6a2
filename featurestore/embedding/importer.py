"""Stores vectors that were computed elsewhere; `vector_files` reads them from files."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, one_chunk, to_numpy
from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.catalog.views import failing_after
from featurestore.catalog.writer import open_writer
from featurestore.collections.ingest import create_store, images_of, ingest
from featurestore.collections.reading import Request
from featurestore.collections.scan import in_order
from featurestore.embedding.assembly import Shard, write_vectors
from featurestore.embedding.plan import PLACE, EmbedPlan, present_rows
from featurestore.embedding.publish import Publisher, shown_before
from featurestore.embedding.resolve import Resolved, resolve
from featurestore.embedding.staging import SHORT_WAIT, open_run
from featurestore.embedding.vector_files.imported import ImportedVectors
from featurestore.embedding.vector_files.reading import read_vectors_file, vectors_hash
from featurestore.errors import Conflict
from featurestore.storage.layout import Layout
from featurestore.storage.lock import replaced as replaced_store
from featurestore.storage.names import check_identifier
from featurestore.storage.objects import Place, objects_of
from featurestore.storage.schemas import IMAGES
from featurestore.storage.state import STATE_FILE, read_state


@dataclass(frozen=True)
class ImportReport:
    """The result of an import.

    ``rows`` vectors were in the file, ``added`` are new in the store, ``external`` belong to images without a file.
    ``replaced`` is the revision that the backbone's views showed before, empty if it is the same or there was none;
    ``failing_views`` has the views of yours that can't be used any more, each with the reason; ``notes`` says what was
    guessed, one sentence each.
    """

    backbone: str
    revision: str
    embed_dim: int
    rows: int
    added: int
    external: int
    replaced: str = ""
    failing_views: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def import_embeddings(
    place: Place,
    file: Path,
    *,
    backbone: str,
    ids: Path | None = None,
    request: Request | None = None,
    synthetic: bool = False,
    wait_seconds: float = 0.0,
) -> ImportReport:
    """See `FeatureStore.import_embeddings`; ``request`` is what to ingest before, None if there is no metadata."""
    check_identifier(backbone, "backbone")
    vectors = read_vectors_file(file, ids)
    said: Sequence[str] = ()
    if request is not None:
        said = ingest(place, request, wait_seconds=wait_seconds).notes
    elif objects_of(place).entry(STATE_FILE) is None:
        create_store(place, wait_seconds=wait_seconds)
    spec = BackboneSpec(
        name=backbone,
        embed_dim=vectors.X.shape[1],
        preprocessing=Preprocessing(),
        weights=f"imported sha256:{vectors_hash(file)}",
        source=f"imported from {file.name or file.resolve().name}",
        synthetic=synthetic,
    )
    report = store_vectors(place, spec, vectors, wait_seconds=wait_seconds)
    return replace(report, notes=(*said, *report.notes))


def store_vectors(
    place: Place, spec: BackboneSpec, vectors: ImportedVectors, *, wait_seconds: float = 0.0
) -> ImportReport:
    """Store the ``vectors`` of ids that have none of this revision yet, and switch the backbone's views to it.

    Raises
    ------
    EmbeddingError
        When a vector is invalid; then none is stored.
    StoreLocked
        When another process is writing or storing this revision, and did not finish in time.
    """
    purpose = f"import {spec.name}"
    with open_run(place, spec, wait_seconds=wait_seconds, purpose=purpose) as run:
        found, external = _add_external(place, vectors, wait_seconds=wait_seconds, purpose=purpose)
        layout = Layout(place, read_state(place))
        replaced = shown_before(layout.state, spec)
        images, rows = _missing(layout, spec, found.ids)
        parts = [write_vectors(run, images, vectors.X[rows])] if len(rows) else []
        plan = EmbedPlan(place, layout.state, spec, tuple(layout.revision_parts(spec.name, spec.revision)), images, 0)
        publisher = Publisher(run, purpose, wait_seconds, renew=external > 0)
        publisher.publish(plan, Shard(parts, ()), complete=True, last=True)
    return ImportReport(
        backbone=spec.name,
        revision=spec.revision,
        embed_dim=spec.embed_dim,
        rows=len(found.ids),
        added=len(rows),
        external=external,
        replaced=replaced,
        failing_views=failing_after(place, read_state(place), replaced),
        notes=(*vectors.notes, *found.notes),
    )


def _missing(layout: Layout, spec: BackboneSpec, ids: NDArray[np.int64]) -> tuple[pa.Table, NDArray[np.int64]]:
    """What the store lacks: ``ImgId`` and ``content_hash`` by id, and the row in the file of each, ``(n,)`` int64."""
    there = to_numpy(present_rows(layout, spec)["ImgId"])
    order = np.argsort(ids, kind="stable")
    rows = order[~np.isin(ids[order], there)]
    images = images_of(layout)
    images = images.filter(pc.is_in(images["status"], value_set=pa.array(["ok", "external"])))
    missing = from_numpy(ids[rows].astype(np.int32))
    hashes = images["content_hash"].take(pc.index_in(missing, value_set=one_chunk(images["ImgId"])))
    return pa.table({"ImgId": missing, "content_hash": pc.fill_null(hashes, "")}), rows


def _add_external(place: Place, vectors: ImportedVectors, *, wait_seconds: float, purpose: str) -> tuple[Resolved, int]:
    """Find the image of each vector, and add a row to `images` for each that the store lacks, so that views join it.

    Return the images, and how many rows were added. The store is locked only for the commit, which leaves
    ``store.duckdb`` to the publication that follows.
    """
    while True:
        layout = Layout(place, read_state(place))
        images = images_of(layout)
        found = resolve(images, layout.state.collection, vectors)
        hidden = pc.is_in(images["status"], value_set=pa.array(["gone", "forgotten"]))
        there = images.filter(pc.and_not(pc.is_valid(images["ImgId"]), hidden))
        new = np.flatnonzero(~np.isin(found.ids, to_numpy(there["ImgId"])))
        if not len(new):
            return found, 0
        with (
            suppress(Conflict),  # another program has written since: once more, from what it wrote
            open_writer(place, wait_seconds=max(wait_seconds, SHORT_WAIT), purpose=purpose, renew=False) as writer,
        ):
            if writer.state.store != layout.state.store:
                raise replaced_store(layout.objects.address)
            if writer.state.tables.get("images") != layout.state.tables.get("images"):
                continue  # another program has written since
            with writer.commit() as commit:
                commit.replace("images", in_order(_with_external(images, found, new)))
            return found, len(new)


def _with_external(images: pa.Table, found: Resolved, new: NDArray[np.int64]) -> pa.Table:
    """``images`` with a row for each of the places ``new``; an image that was gone is known from its vector now."""
    blank = {"content_hash": "", "size_bytes": 0, "status": "external", "synthetic": False} | dict.fromkeys(PLACE, "")
    rows = [{**blank, "ImgId": int(found.ids[row]), "ImgName": found.names[row]} for row in new.tolist()]
    added = pa.Table.from_pylist(rows, schema=IMAGES)
    gone = pc.is_in(images["ImgId"], value_set=one_chunk(added["ImgId"]))
    return pa.concat_tables([images.filter(pc.invert(gone)), added])
