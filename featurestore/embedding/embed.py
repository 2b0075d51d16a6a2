"""Embeds images: runs the steps plan, compute and publish, which are in the modules of these names."""

import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.backbones.records import store_name
from featurestore.catalog.views import failing_after
from featurestore.collections.ingest import sync_images
from featurestore.embedding.compute import Computation
from featurestore.embedding.leftover import publish_left
from featurestore.embedding.plan import EmbedPlan, make_plan
from featurestore.embedding.publish import Publisher, shown_before
from featurestore.embedding.staging import SHORT_WAIT, open_run
from featurestore.errors import InputError, StoreLocked
from featurestore.progress import Progress
from featurestore.storage.layout import Layout
from featurestore.storage.objects import Place
from featurestore.storage.state import read_state


@dataclass(frozen=True)
class EmbedReport:
    """The result of `embed`; counts are numbers of images.

    Parameters
    ----------
    present
        Images that already had an embedding of this revision.
    reused
        Images that got the vector of another image with the same bytes, or one from an interrupted run.
    computed
        Images that went through the network.
    refused
        The reason for each image that got no vector.
    replaced
        The revision that the backbone's views showed before; empty if it is the same or there was none.
    failing_views
        The views of yours that can't be used any more, each with the reason.
    notes
        Sentences about the backbone, such as what was assumed.
    synthetic
        Whether the backbone's weights are made up.
    shard
        The shard that was computed, of which nothing is published; empty if all images were embedded.
    workers
        The images per second of each worker of a cluster.
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
    notes: tuple[str, ...] = ()
    synthetic: bool = False
    shard: str = ""
    workers: Mapping[str, float] = field(default_factory=dict)

    @property
    def images_per_second(self) -> float:
        """Computed images per second, including decoding and storing."""
        return self.computed / self.seconds if self.seconds else 0.0


def embed(
    place: Place,
    backbone: Backbone,
    *,
    batch_size: int = 32,
    workers: int | None = None,
    other_engine: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> EmbedReport:
    """Embed every usable image that has no vector of this backbone's revision.

    Replaced files are noticed, and images with equal bytes computed once. Each batch is written to disk when it is
    computed; the store is locked only briefly. The views show the old revision until the new one is complete.

    Parameters
    ----------
    batch_size
        Images per forward pass; the last one is padded with copies.
    workers
        Number of decoding threads; the number of cores when None.
    other_engine
        Whether to continue a revision that another engine computed.
    wait_seconds
        How many seconds to wait for another writer, or for another run that computes the same revision.

    Raises
    ------
    BackboneError, InputError
        When the backbone fails; when the store holds no usable image, or another engine computed the revision.
    StoreLocked
        When another process is writing or computing this revision, and did not finish in time.
    """
    check_arguments(backbone, batch_size, workers)
    started, spec, purpose = time.monotonic(), backbone.spec, f"embed {backbone.spec.name}"
    with open_run(place, spec, wait_seconds=wait_seconds, purpose=purpose) as run:
        sync_images(place, wait_seconds=max(wait_seconds, SHORT_WAIT), purpose=purpose)
        left = publish_left(run, purpose=purpose, other_engine=other_engine, wait_seconds=wait_seconds)
        shown = shown_before(read_state(place), spec)
        publisher = Publisher(run, purpose, wait_seconds)
        plans = [Computation(_plan(place, spec), run, batch_size, workers, other_engine)]
        while not _carried_out(plans[-1], backbone, publisher, on_progress):  # repeat if images changed meanwhile
            refused = {digest for work in plans for digest in work.given_up}
            plans.append(Computation(_plan(place, spec, exclude=refused), run, batch_size, workers, other_engine))
    state = read_state(place)
    replaced = shown if state.revisions.get(spec.name) == spec.revision else ""
    return EmbedReport(
        backbone=spec.name,
        revision=spec.revision,
        embed_dim=spec.embed_dim,
        present=plans[0].plan.present - left,
        reused=left + sum(work.reused for work in plans),
        computed=sum(work.computed for work in plans),
        refused={name: why for work in plans for name, why in work.refused.items()},
        seconds=time.monotonic() - started,
        replaced=replaced,
        failing_views=failing_after(place, state, replaced),
        notes=spec.notes,
        synthetic=spec.synthetic,
    )


def check_arguments(backbone: Backbone, batch_size: int, workers: int | None) -> None:
    """Refuse what is no backbone, or has an invalid name, and numbers below 1; raises `InputError`."""
    if not isinstance(getattr(backbone, "spec", None), BackboneSpec):
        raise InputError(
            f"got a {type(backbone).__name__} as the backbone, expected a name or an object with `spec` and `embed`: "
            "create one from a function with featurestore.backbones.custom.from_callable"
        )
    if batch_size < 1:
        raise InputError(f"got a batch size of {batch_size}, expected 1 or more")
    if workers is not None and workers < 1:
        raise InputError(f"got {workers} as the number of workers, expected 1 or more")
    store_name(backbone.spec.name)


def _plan(place: Place, spec: BackboneSpec, *, exclude: Collection[str] = ()) -> EmbedPlan:
    return make_plan(Layout(place, read_state(place)), spec, exclude=exclude)


def _carried_out(work: Computation, backbone: Backbone, publisher: Publisher, on_progress: Progress | None) -> bool:
    """Compute and publish a plan; False if the images of the store have changed, so that another plan is needed.

    After an error or an interrupt, staged vectors are published too, but the views don't switch to this revision.
    """
    try:
        for shard in work.shards(backbone, on_progress=on_progress):
            publisher.offer(work.plan, shard)
    except BaseException:
        with suppress(StoreLocked):  # the next run adopts the staged batches
            publisher.publish(work.plan, work.rest(), complete=False)
        raise
    images = read_state(work.plan.objects).tables.get("images")
    same = images == work.plan.state.tables.get("images")
    publisher.publish(work.plan, work.rest(), complete=same, last=True)
    return same
