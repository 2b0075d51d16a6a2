"""Where store and backbone meet: plans what is missing, computes it in batches, publishes it as parts."""

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrow import from_numpy, to_numpy
from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.backbones.registry import store_name
from featurestore.catalog.views import failing_after
from featurestore.catalog.writer import Writer, open_writer
from featurestore.collections.ingest import images_of, sync_images
from featurestore.embedding.batches import batches
from featurestore.embedding.forward import forward
from featurestore.embedding.staging import Staging, known_vectors, present_rows, publish_vectors, replaced_revision
from featurestore.embedding.vectors import faults
from featurestore.errors import InputError
from featurestore.progress import Progress

# Vectors of one part as it is published. It is held in memory a few times over while it is written (floats, levels,
# page): 40 MB at 2048 dimensions. `compact` merges such parts, and groups their rows by 4096.
PUBLISH_ROWS = 1024


@dataclass(frozen=True)
class EmbedReport:
    """What one call of `embed` did; the counts are images.

    Parameters
    ----------
    present
        Had an embedding of this revision already.
    reused
        Got the vector of another image with the same bytes, or of a batch that an interrupted run had left.
    computed
        Forward passes.
    refused
        For each image that got no vector, why.
    replaced
        The revision that the views of the backbone showed before; empty where it is the same or there was none.
    failing_views
        Why some of your views can't be used since then.
    """

    backbone: str
    revision: str
    embed_dim: int
    present: int
    reused: int
    computed: int
    refused: Mapping[str, str]
    seconds: float
    replaced: str = ""
    failing_views: Mapping[str, str] = field(default_factory=dict)

    @property
    def images_per_second(self) -> float:
        """Forward passes a second, decoding and storing included."""
        return self.computed / self.seconds if self.seconds else 0.0


@dataclass
class _Run:
    """What a run has to do, and its counts while it goes.

    ``todo`` has a row for each image without a vector (ImgId, content_hash, path), by id: 0.2 kB an image as an Arrow
    table, several times that in dicts.
    """

    todo: pa.Table
    present: int
    computed: int = 0
    extraction: str | None = None
    publishing: bool = False
    refused: dict[str, str] = field(default_factory=dict)


def embed(
    root: Path,
    backbone: Backbone,
    *,
    batch_size: int = 32,
    workers: int | None = None,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> EmbedReport:
    """See `FeatureStore.embed`; ``backbone`` is loaded."""
    if not isinstance(getattr(backbone, "spec", None), BackboneSpec):
        raise InputError(
            f"got a {type(backbone).__name__} as the backbone, expected a name or an object with `spec` and `embed`: "
            "make one of a function with featurestore.from_callable"
        )
    if batch_size < 1:
        raise InputError(f"got a batch size of {batch_size}, expected 1 or more")
    if workers is not None and workers < 1:
        raise InputError(f"got {workers} as the number of workers, expected 1 or more")
    started = time.monotonic()
    spec = backbone.spec
    store_name(spec.name)
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"embed {spec.name}") as writer:
        # Before the first forward pass: a clash at the first commit would be late.
        writer.check_backbone(spec.name)
        sync_images(writer)
        replaced = replaced_revision(writer, spec)
        run = _plan(writer, spec)
        staging = Staging(writer, spec)
        try:
            reused, compute = _reuse(writer, spec, staging, run)
            pa.default_memory_pool().release_unused()  # what looking at the folders took
            if on_progress:
                on_progress(0, len(compute))
            _compute(
                writer,
                backbone,
                staging,
                run,
                compute,
                batch_size=batch_size,
                workers=workers,
                on_progress=on_progress,
            )
        finally:
            with closing(staging):
                _publish(writer, spec, staging, run)
    replaced = replaced if writer.state.revisions.get(spec.name) == spec.revision else ""
    return EmbedReport(
        backbone=spec.name,
        revision=spec.revision,
        embed_dim=spec.embed_dim,
        present=run.present,
        reused=reused,
        computed=run.computed,
        refused=run.refused,
        seconds=time.monotonic() - started,
        replaced=replaced,
        failing_views=failing_after(root, writer.state, replaced),
    )


def _plan(writer: Writer, spec: BackboneSpec) -> _Run:
    """Which images have to be embedded, from which files."""
    images = images_of(writer)
    usable = images.filter(pc.equal(images["status"], "ok"))
    if not len(usable):
        raise InputError(f"the store {str(writer.root)!r} holds no usable image: run `featurestore ingest` first")
    there = pc.is_in(_pairs(usable), value_set=_pairs(present_rows(writer, spec)).combine_chunks())
    todo = usable.filter(pc.invert(there))
    paths = pc.binary_join_element_wise(todo["folder"], todo["ImgName"], "/")
    return _Run(todo.select(["ImgId", "content_hash"]).append_column("path", paths), len(usable) - len(todo))


def _pairs(rows: pa.Table) -> pa.ChunkedArray:
    """``ImgId`` and ``content_hash`` of each row as one string."""
    return pc.binary_join_element_wise(rows["ImgId"].cast(pa.string()), rows["content_hash"], "/")


def _reuse(writer: Writer, spec: BackboneSpec, staging: Staging, run: _Run) -> tuple[int, pa.Table]:
    """Take vectors that exist already, under another id or in a batch that was staged but never published.

    Returns
    -------
    How many images got a vector so or will get that of their copy, and the rows of ``run.todo`` to compute: one a hash.
    """
    hashes = run.todo["content_hash"]
    wanted = set(pc.unique(hashes).to_pylist())
    staging.adopt(wanted)
    found = set(staging.hashes)
    for digests, vectors in known_vectors(writer, spec, wanted - found):
        staging.add(digests, vectors)
        found.update(digests)
        if len(staging.hashes) >= PUBLISH_ROWS:
            _publish(writer, spec, staging, run)
    missing = run.todo.filter(pc.invert(pc.is_in(hashes, value_set=pa.array(found, pa.string()))))
    codes = to_numpy(missing["content_hash"].combine_chunks().dictionary_encode().indices)
    compute = missing.take(from_numpy(np.unique(codes, return_index=True)[1]))
    return len(run.todo) - len(compute), compute


def _compute(
    writer: Writer,
    backbone: Backbone,
    staging: Staging,
    run: _Run,
    compute: pa.Table,
    *,
    batch_size: int,
    workers: int | None,
    on_progress: Progress | None,
) -> None:
    """Decode on threads while the model works; stage each batch, publish every `PUBLISH_ROWS`."""
    done = 0
    for digests, names, images, failed in batches(compute, backbone.spec.preprocessing, batch_size, workers):
        run.refused |= failed
        done += len(digests) + len(failed)
        if digests:
            vectors = forward(backbone, images)
            run.computed += len(digests)
            bad = faults(vectors)
            run.refused |= {names[row]: reason for row, reason in bad.items()}
            good = [row for row in range(len(digests)) if row not in bad]
            staging.add([digests[row] for row in good], vectors[good])
        if len(staging.hashes) >= PUBLISH_ROWS:
            _publish(writer, backbone.spec, staging, run)
        if on_progress:
            on_progress(done, len(compute))


def _publish(writer: Writer, spec: BackboneSpec, staging: Staging, run: _Run) -> None:
    """The one committer: staged batches become parts of the store, for every id that has the bytes."""
    if run.publishing:  # it failed, and is not tried again at the end: the next run adopts the batches that are whole
        return
    run.publishing = True
    writer.check()
    staged = pc.is_in(run.todo["content_hash"], value_set=pa.array(staging.hashes, pa.string()))
    rows = run.todo.filter(staged)
    # More than one part where many images have the same bytes, or an earlier run left much.
    for start in range(0, max(len(rows), 1), PUBLISH_ROWS):
        some = rows.slice(start, PUBLISH_ROWS)
        hashes = some["content_hash"].to_pylist()
        places: dict[str, list[int]] = {}
        for row, digest in enumerate(hashes):
            places.setdefault(digest, []).append(row)
        run.extraction = publish_vectors(
            writer,
            spec,
            ids=some["ImgId"].to_pylist(),
            hashes=hashes,
            vectors=staging.fill(places, len(some)),
            extraction=run.extraction,
        )
    staging.clear()
    run.publishing = False
