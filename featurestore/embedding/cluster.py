"""Embeds images on a Ray cluster: this process plans and publishes, workers of the cluster compute."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from featurestore.backbones.shipping import BackboneSource
from featurestore.collections.ingest import sync_images
from featurestore.embedding.cluster_run import ClusterRun
from featurestore.embedding.cluster_worker import WorkerOrder
from featurestore.embedding.embed import EmbedReport, check_arguments
from featurestore.embedding.leftover import publish_left
from featurestore.embedding.provenance import processor
from featurestore.embedding.publish_shards import PublishReport
from featurestore.embedding.staging import SHARDS, SHORT_WAIT, Run, open_run
from featurestore.embedding.worker_pool import WorkerPool
from featurestore.engines import Need, connect
from featurestore.errors import InputError
from featurestore.progress import Progress
from featurestore.storage.objects import Place, objects_of
from featurestore.storage.state import read_state

# The folder of copies of the backbone's files, inside that of the run.
WEIGHTS = "weights"


@dataclass(frozen=True)
class ClusterChoice:
    """Which cluster, how many workers (as many as fit when None), and what each of them takes."""

    on: str
    count: int | None
    need: Need


def cluster_choice(
    on: str | None, *, count: int | None, cpus: float | None, gpus: float | None, shard: str | None
) -> ClusterChoice | None:
    """The cluster that was named; None if none was.

    Raises
    ------
    InputError
        When a number is not possible, or only something else of a cluster was named, or also a shard.
    """
    if on is None:
        if (count, cpus, gpus) != (None, None, None):
            raise InputError(
                "got the number of workers, CPUs or GPUs of a cluster without a cluster: name it with --on"
            )
        return None
    if shard is not None:
        raise InputError(
            "got a cluster (--on) and a shard (--shard): leave one out, a cluster divides the images itself"
        )
    if count is not None and count < 1:
        raise InputError(f"got {count} as the number of workers of the cluster, expected 1 or more")
    need = Need(1.0 if cpus is None else cpus, 0.0 if gpus is None else gpus)
    need.check()
    return ClusterChoice(on, count, need)


def embed_on_cluster(
    place: Place,
    source: BackboneSource,
    choice: ClusterChoice,
    *,
    batch_size: int = 32,
    workers: int | None = None,
    other_engine: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> EmbedReport:
    """As `embed.embed`, but workers of a cluster compute; they must see the store and the images under the same paths.

    Each computes shards into this run's staging folder. A worker or a node that is lost costs the shards in work; those
    that are complete are published by this run or, if it ends before, by the next one of the revision.

    Parameters
    ----------
    workers
        Number of decoding threads of each worker; one for each of its CPUs when None.

    Raises
    ------
    ClusterError
        When the cluster can't be reached, its workers are lost again and again, or would compute otherwise.
    InputError
        When the store is on an object store.
    FeatureStoreError
        As `embed.embed`.
    """
    check_arguments(source.backbone, batch_size, workers)
    started, spec, purpose = time.monotonic(), source.backbone.spec, f"embed {source.name}"
    root = _shared_folder(place)
    with connect(choice.on) as cluster, open_run(root, spec, wait_seconds=wait_seconds, purpose=purpose) as run:
        sync_images(root, wait_seconds=max(wait_seconds, SHORT_WAIT), purpose=purpose)
        left = publish_left(run, purpose=purpose, other_engine=other_engine, wait_seconds=wait_seconds)
        (run.folder / SHARDS).mkdir()
        work = ClusterRun(
            run, purpose=purpose, other_engine=other_engine, wait_seconds=wait_seconds, on_progress=on_progress
        )
        places, sent = cluster.places(choice.need), source.sendable()
        threads = max(1, int(choice.need.cpus))
        order = _order(run, sent, threads, workers or threads, batch_size=batch_size, other_engine=other_engine)
        pool = WorkerPool(
            cluster,
            cluster.put(order),
            count=choice.count or places,
            need=choice.need,
            copy_files=lambda: sent.copy_files(run.folder / WEIGHTS),
        )
        with pool:
            plans = [work.plan()]
            reports = [work.carry_out(plans[0], pool, batch_size=batch_size)]
            while read_state(root).tables["images"] != plans[-1].state.tables["images"]:  # they changed meanwhile
                plans.append(work.plan())
                reports.append(work.carry_out(plans[-1], pool, batch_size=batch_size))
    return _report(work, reports, present=plans[0].present - left, left=left, seconds=time.monotonic() - started)


def _shared_folder(place: Place) -> Path:
    """The store's folder, as the workers are told it."""
    objects = objects_of(place)
    if not objects.in_place:
        raise InputError(
            f"got the store {objects.address!r}, expected a folder that all nodes of the cluster see: for one on an "
            "object store compute shards with --shard K/N --out DIR on any machines, then `featurestore publish`"
        )
    return Path(os.path.abspath(objects.root))


def _order(
    run: Run, source: BackboneSource, threads: int, decoders: int, *, batch_size: int, other_engine: bool
) -> WorkerOrder:
    return WorkerOrder(
        root=run.root,
        store=read_state(run.root).store,
        out=run.folder / SHARDS,
        source=source,
        extraction=run.extraction,
        batch_size=batch_size,
        threads=threads,
        decoders=decoders,
        other_engine=other_engine,
        processor=processor(),
    )


def _report(work: ClusterRun, reports: list[PublishReport], *, present: int, left: int, seconds: float) -> EmbedReport:
    last = reports[-1]
    return EmbedReport(
        backbone=last.backbone,
        revision=last.revision,
        embed_dim=last.embed_dim,
        present=present,
        reused=left + work.reused + sum(receipt.reused for receipt in work.receipts),
        computed=sum(receipt.computed for receipt in work.receipts),
        refused=last.refused,
        seconds=seconds,
        replaced=next((report.replaced for report in reports if report.replaced), ""),
        failing_views=last.failing_views,
        synthetic=last.synthetic,
        workers=work.rates.each(),
    )
