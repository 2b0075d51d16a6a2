"""The cells of a run on a Ray cluster: a dataset is sent once, a cell is one call, and a lost one is sent again."""

import pickle
import secrets
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads.base import HeadSpec
from benchmarks.plan.cells import Cell, Outcome, Task, head_hash, shortened
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.run.cell import largest_outcome, read_outcome
from benchmarks.run.limits import Limits
from benchmarks.run.node import compute
from benchmarks.run.sent import Answer, Kit, SentCell, SentDataset, software
from featurestore.engines import Call, Cluster, Need, connect
from featurestore.errors import WorkerLost, reason

# A cell that takes its process down is not sent to one after another.
TRIES = 3
# Calls for each process, so that none waits while results are stored.
CALLS_EACH = 2
_NOTHING = np.empty(0, np.int64)


@contextmanager
def on_cluster(on: str, limits: Limits) -> Iterator["ClusterBench"]:
    """Connect to a cluster for the runs of one command; for ``on`` see `featurestore.engines.connect`."""
    with connect(on) as cluster:
        yield ClusterBench(cluster, limits)


class ClusterBench:
    """Sends cells to a cluster, and what they need when the first that needs it is sent."""

    def __init__(self, cluster: Cluster, limits: Limits) -> None:
        self.cluster = cluster
        self.limits = limits
        self._kit = cluster.put(Kit(secrets.token_hex(16), software(), limits.seconds, limits.memory_mb))
        self._datasets: dict[str, Any] = {}
        self._heads: dict[int, _SentHead] = {}
        self._processors: set[str] = set()

    def outcomes(self, cells: Sequence[Cell]) -> Generator[tuple[int, Outcome]]:
        """The number and outcome of each cell, as they end.

        Raises
        ------
        ClusterError
            When a node has other software than this machine, or the connection is lost.
        """
        waiting = []
        for number, cell in enumerate(cells):
            failure = self._head(cell.head).failure
            if failure:
                yield number, Outcome("failed", failure)
            else:
                waiting.append(number)
        in_flight = self.limits.workers or CALLS_EACH * (self.cluster.places(Need()) if waiting else 1)
        for left in reversed(range(TRIES)):
            lost = []
            calls = self.cluster.each(lambda number: self._submitted(cells[number]), waiting, in_flight=in_flight)
            with closing(calls):  # an interrupt ends them first
                for number, call in calls:
                    outcome = self._outcome(call, cells[number], last=not left)
                    if outcome is None:
                        lost.append(number)
                    else:
                        yield number, outcome
            waiting = lost

    def _submitted(self, cell: Cell) -> Call:
        head, split = self._head(cell.head), cell.split
        classes = len(cell.dataset.classes)
        task = Task(cell.head, Path(), _NOTHING, _NOTHING, split.train, split.test, classes, cell.seed, cell.tune)
        largest = largest_outcome(len(split.test), classes)
        sent = SentCell(pickle.dumps(task), head.hash, head.source, not cell.head.is_built_in, largest)
        return self.cluster.submit(compute, self._kit, self._dataset(cell.dataset), sent)

    def _outcome(self, call: Call, cell: Cell, *, last: bool) -> Outcome | None:
        """What came of a call for ``cell``; None where it was lost and may be sent again."""
        try:
            answer: Answer = self.cluster.result(call)
        except WorkerLost as error:
            return Outcome("failed", shortened(f"lost {TRIES} times: {reason(error)}")) if last else None
        self._compare(answer.processor)
        if answer.failure:
            return Outcome("failed", shortened(answer.failure))
        n_rows, dataset = len(cell.split.test), cell.dataset
        try:
            return read_outcome(
                answer.outcome, n_rows=n_rows, n_classes=len(dataset.classes), several=dataset.y.ndim == 2
            )
        except ValueError as error:
            return Outcome("failed", shortened(f"its process sent what is no result ({error})"))

    def _compare(self, processor: str) -> None:
        """Warn once where nodes compute with processors of different kinds."""
        before = len(self._processors)
        self._processors.add(processor)
        if before == 1 and len(self._processors) == 2:
            warnings.warn(
                f"nodes have processors of different kinds ({'; '.join(sorted(self._processors))}): the last bits of a "
                "score may depend on the node that computed it",
                stacklevel=2,
            )

    def _dataset(self, dataset: EmbeddingDataset) -> Any:
        if dataset.data_hash not in self._datasets:
            sent = SentDataset(dataset.data_hash, np.ascontiguousarray(dataset.X), dataset.y, dataset.groups)
            self._datasets[dataset.data_hash] = self.cluster.put(sent)
        return self._datasets[dataset.data_hash]

    def _head(self, head: HeadSpec) -> "_SentHead":
        """The same for all cells of a head; those of one name may differ by dataset, as `zero_shot` does."""
        if id(head) not in self._heads:
            self._heads[id(head)] = _sent_head(head)
        return self._heads[id(head)]


@dataclass(frozen=True)
class _SentHead:
    """What is sent of a head besides its record, or in ``failure`` why it can't be sent; ``head`` keeps it alive."""

    head: HeadSpec
    hash: str = ""
    source: bytes | None = None
    failure: str = ""


def _sent_head(head: HeadSpec) -> _SentHead:
    where = head.factory.rpartition(":")[0]
    try:
        source = Path(where).read_bytes() if where.endswith(".py") else None
        pickle.dumps(head)
    except Exception as error:  # the parameters of a user's head may be any objects
        return _SentHead(head, failure=shortened(f"it can't be sent to another process ({type(error).__name__})"))
    return _SentHead(head, head_hash(head), source)
