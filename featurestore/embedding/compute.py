"""Compute: a plan's vectors become final parts in the folder of a run; no lock of the store, nothing is published."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, to_numpy
from featurestore.backbones.base import Backbone
from featurestore.embedding.assembly import Shard, assemble
from featurestore.embedding.batches import Decoded, batches
from featurestore.embedding.forward import forward
from featurestore.embedding.plan import EmbedPlan
from featurestore.embedding.staging import Run, to_matrix
from featurestore.embedding.vectors import faults
from featurestore.progress import Progress
from featurestore.storage.parts import check_once, read_groups, read_part

# Vectors of one shard at least; and at least this share of those that this run has put into shards before, so that
# the commits of a run grow with the logarithm of its images. Batches are durable: waiting risks nothing.
SHARD_VECTORS = 1024
SHARD_SHARE = 0.25


@dataclass
class Computation:
    """What is computed of one plan, and its counts while it goes.

    Parameters
    ----------
    run
        Where it is staged.
    batch_size
        Images per forward pass.
    workers
        Threads that decode; the number of cores when None.
    reused
        How many images got the vector of another one with the same bytes, or one that an interrupted run had left.
    computed
        How many images went through the network.
    refused
        The file name of each image that got no vector, and why.
    given_up
        Their content hashes.
    """

    plan: EmbedPlan
    run: Run
    batch_size: int = 32
    workers: int | None = None
    reused: int = 0
    computed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)
    _sharded: int = 0

    def shards(self, backbone: Backbone, *, on_progress: Progress | None = None) -> Iterator[Shard]:
        """Compute what is missing, and yield it in shards that are worth a commit; `rest` is what is left then.

        Raises
        ------
        BackboneError
            When the backbone fails or answers with the wrong shape; what was computed before is staged.
        IntegrityError
            When a vector of this revision that another image could share is damaged, or a staged one was lost.
        """
        found = np.zeros(len(self.plan.hashes), bool)
        for hashes in self._known(found):
            found[self.plan.numbers(hashes)] = True
            yield from self._due()
        missing = self.plan.first_rows(np.flatnonzero(~found))
        self.reused += len(self.plan.todo) - len(missing)
        pa.default_memory_pool().release_unused()  # what planning took
        if on_progress:
            on_progress(0, len(missing))
        done = 0
        for batch in batches(missing, backbone.spec.preprocessing, self.batch_size, self.workers):
            self._compute(backbone, batch)
            yield from self._due()
            done += len(batch.hashes) + len(batch.failed)
            if on_progress:
                on_progress(done, len(missing))

    def rest(self) -> Shard:
        """What is staged and in no shard yet."""
        return assemble(self.run, self.plan)

    def _due(self) -> Iterator[Shard]:
        staged = sum(len(batch.hashes) for batch in self.run.batches)
        if staged >= max(SHARD_VECTORS, SHARD_SHARE * self._sharded):
            self._sharded += staged
            yield assemble(self.run, self.plan)

    def _known(self, found: NDArray[np.bool_]) -> Iterator[pa.Array]:
        """Stage the vectors that exist already, and yield their hashes: in adopted batches, or under another id."""
        for batch in self.run.adopt(self.plan.hashes):
            yield batch.hashes.filter(pc.is_in(batch.hashes, value_set=self.plan.hashes))
        for rows in known_vectors(self.plan, self.plan.hashes.filter(from_numpy(~found))):
            self.run.add(rows["content_hash"].to_pylist(), to_matrix(rows), rows["extraction"].combine_chunks())
            yield rows["content_hash"].combine_chunks()

    def _compute(self, backbone: Backbone, batch: Decoded) -> None:
        """Stage the vectors of one batch; every forward pass has the same shape."""
        for digest, name, reason in batch.failed:
            self._refuse(digest, name, reason)
        if not batch.images:
            return
        vectors = forward(backbone, batch.padded(self.batch_size))[: len(batch.images)]
        self.computed += len(batch.images)
        bad = faults(vectors)
        for row, reason in bad.items():
            self._refuse(batch.hashes[row], batch.names[row], reason)
        good = [row for row in range(len(vectors)) if row not in bad]
        self.run.add([batch.hashes[row] for row in good], vectors[good])

    def _refuse(self, digest: str, name: str, reason: str) -> None:
        self.refused[name] = reason
        self.given_up.add(digest)


def known_vectors(plan: EmbedPlan, wanted: pa.Array) -> Iterator[pa.Table]:
    """The vectors that the revision has of the content hashes ``wanted``, whatever id they were computed for.

    Each hash comes once; one whose vector can't be used is left out. A part is read a row group at a time, so that
    memory doesn't grow with what is found.

    Yields
    ------
    Rows of ``content_hash``, ``extraction`` and ``embedding``, one or more.
    """
    taken = np.zeros(len(wanted), bool)
    for part in plan.parts if len(wanted) else ():
        path = plan.root / part.path
        if not pc.any(pc.is_in(read_part(path, ["content_hash"])["content_hash"], value_set=wanted)).as_py():
            continue
        check_once(part, plan.root)
        for group in read_groups(path, ["content_hash", "extraction", "embedding"]):
            places = to_numpy(pc.fill_null(pc.index_in(group["content_hash"], value_set=wanted), -1)).copy()
            places[[*faults(to_matrix(group))]] = -1
            first = np.unique(places, return_index=True)[1]
            rows = np.sort([row for row in first if places[row] >= 0 and not taken[places[row]]]).astype(np.int64)
            if len(rows):
                taken[places[rows]] = True
                yield group.take(from_numpy(rows))
