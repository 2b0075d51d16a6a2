"""The workers of one run on a cluster: starts them, hands them shards, replaces those that are lost."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore.embedding.cluster_worker import ShardDone, ShardWorker
from featurestore.engines import Call, Cluster, Need, RemoteWorker
from featurestore.errors import ClusterError, WorkerLost

# Shards that each worker has or waits for, so that it need not wait for the driver.
IN_FLIGHT = 2
# How many workers may be lost with one shard, or before they have computed any.
MOST_LOSSES = 4
# Seconds between two looks at the cluster, and those to wait for a first worker.
TICK, PATIENCE = 1.0, 120.0


@dataclass
class _Waiting:
    """A shard to compute; ``losses`` counts the workers that were lost with it."""

    todo: pa.Table
    losses: int = 0


@dataclass(eq=False)
class _Member:
    """One worker, and its calls in their order; it is ``ready`` when its backbone is loaded."""

    worker: RemoteWorker
    ready: bool = False
    calls: dict[Call, _Waiting | None] = field(default_factory=dict)


class WorkerPool:
    """Computes shards on the workers of a cluster; use it as a context, whose end ends them.

    Parameters
    ----------
    order
        What `Cluster.put` made of the `WorkerOrder`.
    count
        How many workers.
    copy_files
        Called when a worker lacks the files of the backbone; returns where it finds them.
    """

    def __init__(
        self, cluster: Cluster, order: Any, *, count: int, need: Need, copy_files: Callable[[], Path | None]
    ) -> None:
        self._cluster = cluster
        self._order = order
        self.count = count
        self._need = need
        self._copy_files = copy_files
        self._copy: Path | None = None
        self._members: list[_Member] = []
        self._again: deque[_Waiting] = deque()
        self._losses = 0
        self._idle_since = time.monotonic()

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            self._cluster.end(member.worker)

    @property
    def ready(self) -> int:
        """The number of workers that compute."""
        return sum(member.ready for member in self._members)

    def results(self, shards: Iterator[pa.Table]) -> Iterator[ShardDone]:
        """Compute each of ``shards``, and yield them as they end.

        Raises
        ------
        ClusterError
            When no worker starts, or they are lost again and again.
        FeatureStoreError
            As `ShardWorker` does.
        """
        left = iter(shards)
        while True:
            self._hand_out(left)
            calls = {call: member for member in self._members for call in member.calls}
            if not any(work for member in self._members for work in member.calls.values()) and not self._again:
                following = next(left, None)
                if following is None:
                    return
                self._again.append(_Waiting(following))
            self._grow()
            for call in self._cluster.ended(calls, seconds=TICK):
                if calls[call] in self._members:  # else it was given up in this turn
                    done = self._settled(call, calls[call])
                    if done is not None:
                        yield done
            self._check_patience()

    def _grow(self) -> None:
        """Start the workers that are missing."""
        while len(self._members) < self.count:
            worker = self._cluster.worker(ShardWorker, self._order, need=self._need)
            self._members.append(_Member(worker, calls={worker.started: None}))

    def _hand_out(self, left: Iterator[pa.Table]) -> None:
        """Give each worker that is ready its next shards."""
        for _ in range(IN_FLIGHT):
            for member in self._members:
                if not member.ready or len(member.calls) >= IN_FLIGHT:
                    continue
                following = self._again.popleft() if self._again else None
                if following is None:
                    todo = next(left, None)
                    if todo is None:
                        return
                    following = _Waiting(todo)
                member.calls[member.worker.call("compute", following.todo)] = following

    def _settled(self, call: Call, member: _Member) -> ShardDone | None:
        """What came of a call that has ended."""
        try:
            value = self._cluster.result(call)
        except WorkerLost as error:
            self._lose(member, error)
            return None
        work = member.calls.pop(call)
        if work is not None:
            self._losses = 0
            done: ShardDone = value
            return done
        if call is member.worker.started:
            member.calls[member.worker.call("start", self._copy)] = None
        elif value:
            member.ready = True
        else:
            self._copy = self._copy or self._copy_files()
            member.calls[member.worker.call("start", self._copy)] = None
        return None

    def _lose(self, member: _Member, error: WorkerLost) -> None:
        """Give up a worker that was lost; its shards are computed again."""
        self._members.remove(member)
        self._cluster.end(member.worker)
        self._losses += 1
        lost = [work for work in member.calls.values() if work is not None]
        for work in lost[:1]:  # the others waited behind it
            work.losses += 1
        self._again.extendleft(reversed(lost))
        if self._losses >= MOST_LOSSES * self.count or any(work.losses >= MOST_LOSSES for work in lost):
            raise ClusterError(
                f"the workers of the cluster at {self._cluster.address!r} are lost again and again, {self._losses} "
                "without a shard between: look at the memory and the logs of its nodes; what was computed is kept"
            ) from error

    def _check_patience(self) -> None:
        if self.ready or any(call is not member.worker.started for member in self._members for call in member.calls):
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > PATIENCE:
            raise ClusterError(
                f"no worker with {self._need} started on the cluster at {self._cluster.address!r} in {PATIENCE:g} "
                "seconds: others use it, or it lost its nodes; what was computed is kept"
            )
