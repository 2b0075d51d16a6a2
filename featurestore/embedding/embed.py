"""Embed: plan what is missing in a store, compute it, publish it; the three steps are in files of their names."""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.backbones.registry import store_name
from featurestore.catalog.views import failing_after
from featurestore.collections.ingest import sync_images
from featurestore.embedding.compute import Computation
from featurestore.embedding.plan import EmbedPlan, make_plan
from featurestore.embedding.publish import Publisher, shown_before
from featurestore.embedding.staging import SHORT_WAIT, open_run
from featurestore.errors import InputError, StoreLocked
from featurestore.progress import Progress
from featurestore.storage.layout import Layout
from featurestore.storage.state import read_state


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
    computed once. Each batch is on disk as soon as it is computed: an interrupt costs at most the one in work. The
    store is locked for moments only, so that others write while this computes. The views of the backbone go on showing
    another revision until this one has every image; where they showed none, they show what there is.

    Parameters
    ----------
    batch_size
        Images per forward pass; the last pass is filled up with copies.
    workers
        Threads that decode; the number of cores when None.
    wait_seconds
        How long to wait for another writer, or for another run that computes the same revision.

    Raises
    ------
    BackboneError
        When the backbone fails or answers with the wrong shape; what was computed before stays.
    InputError
        When the store holds no usable image, or an argument is not what it should be.
    StoreLocked
        When another process writes, or computes this revision, and did not end in time.
    """
    _check(backbone, batch_size, workers)
    started, spec = time.monotonic(), backbone.spec
    purpose = f"embed {spec.name}"
    with open_run(root, spec, wait_seconds=wait_seconds, purpose=purpose) as run:
        sync_images(root, wait_seconds=max(wait_seconds, SHORT_WAIT), purpose=purpose)
        shown = shown_before(read_state(root), spec)
        publisher = Publisher(run, purpose, wait_seconds)
        plans = [Computation(_plan(root, spec), run, batch_size, workers)]
        while not _carried_out(plans[-1], backbone, publisher, on_progress):  # the images changed meanwhile
            refused = {digest for work in plans for digest in work.given_up}
            plans.append(Computation(_plan(root, spec, but=refused), run, batch_size, workers))
    state = read_state(root)
    replaced = shown if state.revisions.get(spec.name) == spec.revision else ""
    return EmbedReport(
        backbone=spec.name,
        revision=spec.revision,
        embed_dim=spec.embed_dim,
        present=plans[0].plan.present,
        reused=sum(work.reused for work in plans),
        computed=sum(work.computed for work in plans),
        refused={name: why for work in plans for name, why in work.refused.items()},
        seconds=time.monotonic() - started,
        replaced=replaced,
        failing_views=failing_after(root, state, replaced),
    )


def _check(backbone: Backbone, batch_size: int, workers: int | None) -> None:
    if not isinstance(getattr(backbone, "spec", None), BackboneSpec):
        raise InputError(
            f"got a {type(backbone).__name__} as the backbone, expected a name or an object with `spec` and `embed`: "
            "make one of a function with featurestore.backbones.custom.from_callable"
        )
    if batch_size < 1:
        raise InputError(f"got a batch size of {batch_size}, expected 1 or more")
    if workers is not None and workers < 1:
        raise InputError(f"got {workers} as the number of workers, expected 1 or more")
    store_name(backbone.spec.name)


def _plan(root: Path, spec: BackboneSpec, *, but: Collection[str] = ()) -> EmbedPlan:
    return make_plan(Layout(root, read_state(root)), spec, but=but)


def _carried_out(work: Computation, backbone: Backbone, publisher: Publisher, on_progress: Progress | None) -> bool:
    """Compute a plan and publish all of it; whether the store still has the images that were planned.

    After an error or an interrupt what is staged is published too; a view that shows another revision stays.
    """
    try:
        for shard in work.shards(backbone, on_progress=on_progress):
            publisher.offer(work.plan, shard)
    except BaseException:
        with suppress(StoreLocked):  # the next run takes over what is staged
            publisher.publish(work.plan, work.rest(), complete=False)
        raise
    images = read_state(work.plan.root).tables.get("images")
    same = images == work.plan.state.tables.get("images")
    publisher.publish(work.plan, work.rest(), complete=same, last=True)
    return same
