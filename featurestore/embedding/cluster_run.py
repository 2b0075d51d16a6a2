"""One run on a cluster: divides a plan into shards, and publishes what workers made of them while others compute."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.embedding.cluster_worker import ShardDone
from featurestore.embedding.compute import Computation, in_file_order, is_due
from featurestore.embedding.engine import check_engine
from featurestore.embedding.leftover import publish_shards
from featurestore.embedding.plan import EmbedPlan, make_plan
from featurestore.embedding.publish import Publisher
from featurestore.embedding.publish_shards import PublishReport
from featurestore.embedding.receipt import Receipt, receipts_in
from featurestore.embedding.shard_folder import SHARD_FOLDER
from featurestore.embedding.staging import SHARDS, Run
from featurestore.embedding.worker_pool import WorkerPool
from featurestore.errors import ClusterError, StoreLocked
from featurestore.progress import ConsoleProgress, Progress
from featurestore.storage.layout import Layout
from featurestore.storage.state import read_state

# Images of a shard: few enough that a lost one costs little, many enough that its receipt costs nothing.
FEWEST, MOST = 64, 2048
# Shards that each worker computes where there are enough images, so that all end at about the same time.
EACH = 16


class ClusterRun:
    """The plans, receipts and publications of one run.

    Attributes
    ----------
    receipts
        Those that were published, without their parts, which are removed then.
    reused
        Number of images whose vector existed already.
    rates
        The images per second of each worker.
    """

    def __init__(
        self, run: Run, *, purpose: str, other_engine: bool, wait_seconds: float, on_progress: Progress | None
    ) -> None:
        self.receipts: list[Receipt] = []
        self.reused = 0
        self.rates = Rates(on_progress)
        self._run = run
        self._purpose = purpose
        self._other_engine = other_engine
        self._wait_seconds = wait_seconds
        self._waiting: list[Receipt] = []
        self._published = 0

    def plan(self) -> EmbedPlan:
        """The images that have no vector yet, and were not refused."""
        refused = {digest for receipt in self.receipts for digest in receipt.refused}
        return make_plan(Layout(self._run.root, read_state(self._run.root)), self._run.spec, exclude=refused)

    def carry_out(self, plan: EmbedPlan, pool: WorkerPool, *, batch_size: int) -> PublishReport:
        """Have ``pool`` compute what ``plan`` lacks, and publish it.

        Raises
        ------
        InputError
            When another engine computed the vectors that there are.
        ClusterError, FeatureStoreError
            As `WorkerPool.results`; what was received is published.
        """
        missing = self._publish_existing(plan)
        if len(missing) and not self._other_engine:
            check_engine(plan, self._run)
        self.rates.begin(int(plan.counts[missing].sum()))
        size = _shard_images(len(missing), pool.count, batch_size)
        try:
            for done in pool.results(_shards(plan, missing, size)):
                self._receive(done)
        except BaseException:
            with suppress(StoreLocked):  # the next run publishes them
                self._publish()
            raise
        return self._publish()

    def _publish_existing(self, plan: EmbedPlan) -> NDArray[np.int64]:
        """Publish vectors of interrupted runs and of images with the same bytes; the numbers of the other hashes."""
        work, publisher = Computation(plan, self._run), Publisher(self._run, self._purpose, self._wait_seconds)
        for shard in work.existing():
            publisher.offer(plan, shard)
        publisher.publish(plan, work.rest(), complete=False, last=True)
        self.reused += len(plan.todo) - int(plan.counts[work.missing].sum())
        return work.missing

    def _receive(self, done: ShardDone) -> None:
        """Read the receipts of a shard, and publish all that wait when they are worth a commit."""
        if not SHARD_FOLDER.fullmatch(done.folder):
            raise ClusterError(f"the worker {done.worker} names {done.folder[:80]!r} as the folder of a shard")
        self._waiting += receipts_in(self._run.folder / SHARDS / done.folder).values()
        self.rates.add(done)
        rows = sum(receipt.rows for receipt in self._waiting)
        if is_due(rows, self._published):
            with suppress(StoreLocked):  # then with the next ones
                self._publish()
                self._published += rows

    def _publish(self) -> PublishReport:
        report = publish_shards(
            self._run,
            [*self.receipts, *self._waiting],
            purpose=self._purpose,
            other_engine=self._other_engine,
            wait_seconds=self._wait_seconds,
        )
        for receipt in self._waiting:
            shutil.rmtree(receipt.folder, ignore_errors=True)
        self.receipts += [replace(receipt, parts=()) for receipt in self._waiting]
        self._waiting.clear()
        return report


class Rates:
    """How fast each worker computes, and the progress of all."""

    def __init__(self, on_progress: Progress | None) -> None:
        self._on_progress = on_progress
        self._images: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._done = self._total = 0

    def begin(self, total: int) -> None:
        """Begin to compute ``total`` images."""
        self._done, self._total = 0, total
        self._tell()

    def add(self, done: ShardDone) -> None:
        """Count a shard."""
        self._images[done.worker] = self._images.get(done.worker, 0) + done.images
        self._seconds[done.worker] = self._seconds.get(done.worker, 0.0) + done.seconds
        self._done += done.images
        self._tell()

    def each(self) -> dict[str, float]:
        """Images per second of each worker."""
        return {worker: images / max(self._seconds[worker], 1e-9) for worker, images in self._images.items()}

    def _tell(self) -> None:
        if isinstance(self._on_progress, ConsoleProgress):
            self._on_progress.detail = described(list(self.each().values()))
        if self._on_progress:
            self._on_progress(self._done, self._total)


def described(rates: list[float]) -> str:
    """Images per second by worker, in a few words.

    >>> described([11.84, 12.4, 9.1])
    '3 workers: 9.1 to 12.4 images/s each'
    >>> described([11.84]), described([])
    ('1 worker', '')
    """
    if len(rates) < 2:
        return "1 worker" if rates else ""
    return f"{len(rates)} workers: {min(rates):,.1f} to {max(rates):,.1f} images/s each"


def _shard_images(images: int, workers: int, batch_size: int) -> int:
    """The number of images of a shard: whole batches."""
    wanted = min(max(-(-images // (workers * EACH)), FEWEST), MOST)
    return -(-wanted // batch_size) * batch_size


def _shards(plan: EmbedPlan, missing: NDArray[np.int64], size: int) -> Iterator[pa.Table]:
    """The rows of ``plan`` with the hashes ``missing``, in tables of ``size`` hashes, in the order of the files."""
    numbers = plan.numbers(in_file_order(plan.first_rows(missing))["content_hash"].combine_chunks())
    for start in range(0, len(numbers), size):
        yield plan.images(numbers[start : start + size])[0]
