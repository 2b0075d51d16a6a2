"""Where store and backbone meet: plans what is missing, computes it in batches, publishes it as parts."""

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone, BackboneSpec, Preprocessing
from featurestore.backbones.custom import checked
from featurestore.errors import BackboneError, FeatureStoreError, ImageError, InputError
from featurestore.images import content_hash, decode
from featurestore.ingest import image_rows, sync_images
from featurestore.progress import Progress
from featurestore.staging import Staging, known_vectors, present_pairs, publish_vectors
from featurestore.vectors import faults
from featurestore.writer import Writer, open_writer

# Staged batches become one part when they hold this many vectors.
PUBLISH_ROWS = 4096


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
    """

    backbone: str
    revision: str
    embed_dim: int
    present: int
    reused: int
    computed: int
    refused: Mapping[str, str]
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Forward passes a second, decoding and storing included."""
        return self.computed / self.seconds if self.seconds else 0.0


@dataclass
class _Run:
    """Counts of a run while it goes."""

    ids_of: dict[str, list[int]]
    paths: dict[str, Path]
    present: int
    computed: int = 0
    extraction: int | None = None
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
    """Embed every usable image that has no vector of this backbone's revision.

    The folders of the last ingest are looked at again first, so a replaced file is noticed. Images of equal bytes are
    computed once. Each batch is on disk as soon as it is computed: an interrupt costs at most the one in work.

    Parameters
    ----------
    batch_size
        Images per forward pass.
    workers
        Threads that decode; the number of cores when None.

    Raises
    ------
    BackboneError
        When the backbone fails or answers with the wrong shape; what was computed before stays.
    InputError
        When the store holds no usable image.
    """
    if batch_size < 1:
        raise InputError(f"got a batch size of {batch_size}, expected 1 or more")
    if workers is not None and workers < 1:
        raise InputError(f"got {workers} as the number of workers, expected 1 or more")
    started = time.monotonic()
    spec = backbone.spec
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"embed {spec.name}") as writer:
        sync_images(writer)
        run = _plan(writer, spec)
        staging = Staging(writer.root, spec)
        try:
            reused = _reuse(writer, spec, staging, run)
            if on_progress:
                on_progress(0, len(run.paths))
            _compute(
                writer,
                backbone,
                staging,
                run,
                batch_size=batch_size,
                workers=workers,
                on_progress=on_progress,
            )
        finally:
            _publish(writer, spec, staging, run)
    return EmbedReport(
        backbone=spec.name,
        revision=spec.revision,
        embed_dim=spec.embed_dim,
        present=run.present,
        reused=reused,
        computed=run.computed,
        refused=run.refused,
        seconds=time.monotonic() - started,
    )


def _plan(writer: Writer, spec: BackboneSpec) -> _Run:
    """Which hashes have to be embedded, for which ids, from which files."""
    usable = [row for row in image_rows(writer) if row["status"] == "ok"]
    if not usable:
        raise InputError(f"the store {str(writer.root)!r} holds no usable image: run `featurestore ingest` first")
    there = present_pairs(writer, spec)
    ids_of: dict[str, list[int]] = {}
    paths: dict[str, Path] = {}
    for row in usable:
        if (row["ImgId"], row["content_hash"]) not in there:
            ids_of.setdefault(row["content_hash"], []).append(row["ImgId"])
            paths.setdefault(row["content_hash"], Path(row["folder"], row["ImgName"]))
    return _Run(ids_of, paths, present=len(usable) - sum(map(len, ids_of.values())))


def _reuse(writer: Writer, spec: BackboneSpec, staging: Staging, run: _Run) -> int:
    """Take vectors that exist already, under another id or in a batch that was staged but never published."""
    staging.adopt(set(run.ids_of))
    known = known_vectors(writer, spec, set(run.ids_of) - staging.hashes)
    if known:
        staging.add(list(known), np.stack(list(known.values())))
    for digest in staging.hashes:
        run.paths.pop(digest, None)
    # The copies of an image that is about to be computed are reused as well.
    return sum(len(ids) if digest in staging.hashes else len(ids) - 1 for digest, ids in run.ids_of.items())


def _compute(
    writer: Writer,
    backbone: Backbone,
    staging: Staging,
    run: _Run,
    *,
    batch_size: int,
    workers: int | None,
    on_progress: Progress | None,
) -> None:
    """Decode on threads while the model works; stage each batch, publish every `PUBLISH_ROWS`."""
    total, done = len(run.paths), 0
    for digests, images, failed in _batches(run.paths, backbone.spec.preprocessing, batch_size, workers):
        run.refused |= failed
        done += len(digests) + len(failed)
        if digests:
            vectors = _forward(backbone, images)
            run.computed += len(digests)
            bad = faults(vectors)
            run.refused |= {run.paths[digests[row]].name: reason for row, reason in bad.items()}
            good = [row for row in range(len(digests)) if row not in bad]
            staging.add([digests[row] for row in good], vectors[good])
        if len(staging.hashes) >= PUBLISH_ROWS:
            _publish(writer, backbone.spec, staging, run)
        if on_progress:
            on_progress(done, total)


def _publish(writer: Writer, spec: BackboneSpec, staging: Staging, run: _Run) -> None:
    """The one committer: staged batches become a part of the store, for every id that has the bytes."""
    rows = sorted((img_id, digest) for digest in staging.hashes for img_id in run.ids_of[digest])
    places: dict[str, list[int]] = {}
    for row, (_, digest) in enumerate(rows):
        places.setdefault(digest, []).append(row)
    run.extraction = publish_vectors(
        writer,
        spec,
        ids=[img_id for img_id, _ in rows],
        hashes=[digest for _, digest in rows],
        vectors=staging.fill(places, len(rows)),
        extraction=run.extraction,
    )
    staging.clear()


def _forward(backbone: Backbone, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One forward pass, checked.

    Raises
    ------
    BackboneError
        When the backbone raises, or the result is not ``(n, embed_dim)`` floats.
    """
    spec = backbone.spec
    try:
        vectors = backbone.embed(spec.preprocessing.apply(images))
    except FeatureStoreError:
        raise
    except Exception as error:  # a user's callable may raise anything
        raise BackboneError(f"the backbone {spec.name!r} failed with {type(error).__name__}: {error}") from error
    return checked(vectors, spec, len(images))


def _batches(
    paths: Mapping[str, Path], preprocessing: Preprocessing, batch_size: int, workers: int | None
) -> Iterator[tuple[list[str], NDArray[np.uint8], dict[str, str]]]:
    """Batches of decoded images: their hashes, ``(n, height, width, 3)`` uint8, and the files that failed."""
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        digests: list[str] = []
        images: list[NDArray[np.uint8]] = []
        failed: dict[str, str] = {}
        for digest, future in _ahead(pool, paths.items(), preprocessing, window=3 * batch_size):
            try:
                images.append(future.result())
                digests.append(digest)
            except ImageError as error:
                failed[paths[digest].name] = str(error)
            if len(digests) == batch_size:
                yield digests, np.stack(images), failed
                digests, images, failed = [], [], {}
        if digests or failed:
            yield digests, np.stack(images) if images else np.empty((0, 0, 0, 3), np.uint8), failed


def _ahead(
    pool: ThreadPoolExecutor, items: Iterable[tuple[str, Path]], preprocessing: Preprocessing, *, window: int
) -> Iterator[tuple[str, "Future[Any]"]]:
    """Decode at most ``window`` images ahead, in order: memory stays flat however many there are."""
    pending: deque[tuple[str, Future[Any]]] = deque()
    for digest, path in items:
        pending.append((digest, pool.submit(_decode, digest, path, preprocessing)))
        if len(pending) > window:
            yield pending.popleft()
    yield from pending


def _decode(digest: str, path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file can't be read: {error.strerror}") from error
    if content_hash(content) != digest:
        raise ImageError("the file changed while it was being embedded: run the command again")
    return decode(content, height=preprocessing.height, width=preprocessing.width)
