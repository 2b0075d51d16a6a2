"""What a worker of a cluster does: loads the backbone, refuses to compute otherwise than the driver, makes shards."""

import os
import platform
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from featurestore import __version__
from featurestore.backbones.base import Backbone
from featurestore.backbones.shipping import BackboneSource
from featurestore.collections.stored_paths import from_stored
from featurestore.embedding.plan import EmbedPlan
from featurestore.embedding.provenance import Extraction, extraction_of, processor
from featurestore.embedding.shard import compute_shard
from featurestore.errors import BackboneError, ClusterError, InputError, StoreError
from featurestore.storage.layout import Layout
from featurestore.storage.state import read_state

# Seconds to wait for a process of an earlier run that computes the same shard.
WAIT = 60.0


@dataclass(frozen=True)
class WorkerOrder:
    """What every worker of one run gets.

    Parameters
    ----------
    root, store
        The store's folder, which the worker must see under the same path, and the store's id.
    out
        The folder for shards, inside the store's.
    source
        The backbone.
    extraction, processor, version
        What computes on the driver's machine: another kind is refused unless ``other_engine`` is set.
    batch_size, threads
        Images per forward pass; threads of the backbone.
    decoders
        Threads that decode images.
    """

    root: Path
    store: str
    out: Path
    source: BackboneSource
    extraction: Extraction
    batch_size: int
    threads: int
    decoders: int
    other_engine: bool = False
    processor: str = ""
    version: str = __version__


@dataclass(frozen=True)
class ShardDone:
    """A shard that was computed.

    Parameters
    ----------
    folder
        The name of its folder, with its receipt, in the folder for shards.
    worker
        The host and the number of the process.
    images, seconds
        The images that it was asked for, and the time of the worker.
    """

    folder: str
    worker: str
    images: int
    seconds: float


class ShardWorker:
    """Computes shards in a process on a node of a cluster."""

    def __init__(self, order: WorkerOrder) -> None:
        self._order = order
        self._backbone: Backbone | None = None
        self._seen: set[str] = set()

    def start(self, copy: Path | None) -> bool:
        """Load the backbone, from its ``copy`` if there is one; False if its files are neither here nor in the copy.

        Raises
        ------
        ClusterError
            When this worker does not see the store, or would compute otherwise than the driver.
        FeatureStoreError
            As the loader does.
        """
        order = self._order
        if order.version != __version__:
            raise _unlike(f"version {__version__} of this package", f"version {order.version}")
        self._check_store()
        backbone = self._load(copy)
        if backbone is None:
            return False
        self._check_engine(backbone)
        self._backbone = backbone
        return True

    def compute(self, todo: pa.Table) -> ShardDone:
        """Compute the images ``todo``, rows of an `EmbedPlan`, as one shard; raises as `compute_shard`."""
        order, started = self._order, time.monotonic()
        assert self._backbone is not None
        self._check_images(todo["source"].unique().to_pylist())
        plan = EmbedPlan(order.root, read_state(order.root), self._backbone.spec, (), todo, 0)
        receipt = compute_shard(
            plan,
            self._backbone,
            order.out,
            batch_size=order.batch_size,
            workers=order.decoders,
            other_engine=True,  # the driver compared it with what the store holds
            wait_seconds=WAIT,
        )
        return ShardDone(receipt.folder.name, f"{_host()}:{os.getpid()}", len(todo), time.monotonic() - started)

    def _check_store(self) -> None:
        order = self._order
        try:
            store = Layout(order.root, read_state(order.root)).state.store
        except StoreError as error:
            raise ClusterError(
                f"the worker on {_host()} does not see the store {str(order.root)!r} ({error}): share its folder, "
                "under the same path on every node"
            ) from error
        if store != order.store or not order.out.parent.is_dir():
            raise ClusterError(
                f"the worker on {_host()} sees another store in {str(order.root)!r}: share the folder of the driver"
            )

    def _check_images(self, sources: Collection[str]) -> None:
        """Refuse folders that this node lacks: all of their images would be recorded as unreadable."""
        for source in sources:
            if source not in self._seen and "://" not in source and not Path(from_stored(source)).exists():
                raise InputError(
                    f"the worker on {_host()} does not see the images in {source!r}: share the folder, under the same "
                    "path on every node"
                )
            self._seen.add(source)

    def _load(self, copy: Path | None) -> Backbone | None:
        source, threads = self._order.source, self._order.threads
        if copy is not None:
            return source.load(threads=threads, copy=copy)
        if source.place is not None and not source.place.exists():
            return None
        try:
            return source.load(threads=threads)
        except BackboneError:
            if source.place is None:
                raise
            return None  # the path may be that of other weights here

    def _check_engine(self, backbone: Backbone) -> None:
        order, spec = self._order, backbone.spec
        if spec.revision != order.extraction.revision:
            raise _unlike(f"revision {spec.revision} of the backbone", f"revision {order.extraction.revision}")
        if order.other_engine:
            return
        mine = extraction_of(spec)
        if (mine.libraries, mine.precision) != (order.extraction.libraries, order.extraction.precision):
            raise _unlike(_computing(mine), f"{_computing(order.extraction)}, or allow others with --other-engine")
        if processor() != order.processor:
            raise _unlike(
                f"the processor {processor()}",
                f"{order.processor}, or allow others with --other-engine: they round otherwise",
            )


def _computing(extraction: Extraction) -> str:
    return f"{extraction.libraries} in {extraction.precision}"


def _unlike(got: str, expected: str) -> ClusterError:
    return ClusterError(f"the worker on {_host()} has {got}, expected that of this machine, {expected}")


def _host() -> str:
    return socket.gethostname() or platform.node()
