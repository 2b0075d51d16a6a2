"""Computes the vectors of a plan as final parts in a run's folder; it does not lock the store or publish."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, one_chunk, to_numpy
from featurestore.backbones.base import Backbone
from featurestore.backbones.passes import BATCH_SIZE, run_passes
from featurestore.embedding.assembly import Shard, assemble
from featurestore.embedding.batches import Decoded, ready
from featurestore.embedding.engine import check_engine
from featurestore.embedding.plan import EmbedPlan
from featurestore.embedding.staging import Run, to_matrix
from featurestore.embedding.vectors import faults
from featurestore.progress import Progress
from featurestore.storage.parts import Part, check_once, read_groups, read_part

# Minimum number of vectors of a shard; it is also at least this fraction of the vectors in earlier shards of the run,
# so that the number of commits is logarithmic in the number of images. Batches are durable, so waiting loses nothing.
SHARD_VECTORS = 1024
SHARD_SHARE = 0.25
# Rows of parts whose hashes are looked up together.
LOOKUP_ROWS = 2**20
# As many digits as the number of a row can have, so that numbers sort as text.
MEMBER_DIGITS = 12


@dataclass
class Computation:
    """The computation of one plan, with its progress.

    Parameters
    ----------
    run
        The run in whose folder vectors are staged.
    batch_size
        Images per forward pass.
    workers
        Number of decoding threads; the number of cores when None.
    other_engine
        Whether to continue a revision that another engine computed.
    reused
        Number of images that got the vector of another image with the same bytes, or one from an interrupted run.
    computed
        Number of images that went through the network.
    refused
        The file name of each image that got no vector, and the reason.
    given_up
        The file name of each refused image by content hash.
    missing
        The numbers of the planned hashes without a vector, ascending, when `existing` has ended.
    """

    plan: EmbedPlan
    run: Run
    batch_size: int = BATCH_SIZE
    workers: int | None = None
    other_engine: bool = False
    reused: int = 0
    computed: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    missing: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _sharded: int = 0

    def shards(self, backbone: Backbone, *, on_progress: Progress | None = None) -> Iterator[Shard]:
        """Compute what is missing, and yield it in shards large enough for a commit; `rest` returns the remainder.

        Raises
        ------
        BackboneError
            When the backbone fails or returns the wrong shape; vectors computed before stay staged.
        IntegrityError
            When a stored vector that could be reused is damaged, or a staged one was lost.
        InputError
            When vectors must be computed, and another engine computed those that there are.
        """
        yield from self.existing()
        missing = in_file_order(self.plan.first_rows(self.missing))
        self.reused += len(self.plan.todo) - len(missing)
        if len(missing) and not self.other_engine:
            check_engine(self.plan, self.run)
        pa.default_memory_pool().release_unused()  # memory used for planning
        if on_progress:
            on_progress(0, len(missing))
        batches = ready(missing, backbone.spec, batch_size=self.batch_size, workers=self.workers)
        with closing(batches), _Stage(missing.num_rows, on_progress) as stage:
            for batch, prepared in batches:
                vectors = run_passes(backbone, prepared)
                yield from stage.ended()  # before the next one begins, so that the run is used by one thread at a time
                stage.begin(len(batch.hashes) + len(batch.failed), partial(self._stage, batch, vectors))
            yield from stage.ended()

    def existing(self) -> Iterator[Shard]:
        """Stage what exists already, and yield it like `shards`; afterwards `missing` is set."""
        found = np.zeros(len(self.plan.hashes), bool)
        for numbers in self._known(found):
            found[numbers] = True
            yield from self._due()
        self.missing = np.flatnonzero(~found)

    def rest(self) -> Shard:
        """A shard of all staged vectors that are in no shard yet."""
        return assemble(self.run, self.plan)

    def _due(self) -> list[Shard]:
        staged = sum(len(batch.hashes) for batch in self.run.batches)
        if not is_due(staged, self._sharded):
            return []
        self._sharded += staged
        return [assemble(self.run, self.plan)]

    def _known(self, found: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
        """Stage vectors that already exist, in adopted batches or for another id; yield the numbers of their hashes.

        Hashes of many batches are looked up together: each look-up first makes a hash table of all that are planned.
        """
        if adopted := self.run.adopt(self.plan.hashes):
            numbers = self.plan.numbers(pa.concat_arrays([batch.hashes for batch in adopted]))
            yield numbers[numbers >= 0]
        missing = np.flatnonzero(~found)
        for places, rows in known_vectors(self.plan, self.plan.hashes.take(from_numpy(missing))):
            self.run.add(rows["content_hash"].to_pylist(), to_matrix(rows), rows["extraction"].combine_chunks())
            yield missing[places]

    def _stage(self, batch: Decoded, vectors: NDArray[np.float32]) -> list[Shard]:
        """Check and stage the vectors of one batch; a shard if enough are staged. Runs beside the next pass."""
        for digest, name, reason in batch.failed:
            self._refuse(digest, name, reason)
        self.computed += len(vectors)
        bad = faults(vectors)
        for row, reason in bad.items():
            self._refuse(batch.hashes[row], batch.names[row], reason)
        good = [row for row in range(len(vectors)) if row not in bad]
        self.run.add([batch.hashes[row] for row in good], vectors[good] if bad else vectors)
        return self._due()

    def _refuse(self, digest: str, name: str, reason: str) -> None:
        self.refused[name] = reason
        self.given_up[digest] = name


def is_due(waiting: int, published: int) -> bool:
    """Whether so many ``waiting`` vectors are worth a commit, after so many in earlier ones of the run."""
    return waiting >= max(SHARD_VECTORS, SHARD_SHARE * published)


class _Stage:
    """Stages one batch at a time on a thread of its own, and reports progress; the block ends when none is left."""

    def __init__(self, total: int, on_progress: Progress | None) -> None:
        self._pool = ThreadPoolExecutor(1, "stage")
        self._running: Future[list[Shard]] | None = None
        self._images = self._done = 0
        self._total = total
        self._on_progress = on_progress

    def __enter__(self) -> "_Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()  # after an error or an interrupt the batch in flight is staged too

    def begin(self, images: int, work: Callable[[], list[Shard]]) -> None:
        """Start to stage a batch of ``images``; `ended` must have returned those before it."""
        self._images = images
        self._running = self._pool.submit(work)

    def ended(self) -> list[Shard]:
        """Wait for the batch in flight; the shards that became due with it.

        Raises
        ------
        IntegrityError, StoreError, OSError
            As staging did.
        """
        if self._running is None:
            return []
        shards = self._running.result()
        self._running = None
        self._done += self._images
        if self._on_progress:
            self._on_progress(self._done, self._total)
        return shards


def in_file_order(rows: pa.Table) -> pa.Table:
    """``rows`` of a plan in the order in which files that hold many images have them: they are read in blocks."""
    if pc.all(pc.equal(rows["member"], "")).as_py():
        return rows
    member = pc.utf8_lpad(rows["member"], width=MEMBER_DIGITS, padding="0")
    keys = rows.select(["source", "file"]).append_column("member", member)
    order = [(name, "ascending") for name in keys.column_names]
    return rows.take(pc.sort_indices(keys, sort_keys=order))


def known_vectors(plan: EmbedPlan, wanted: pa.Array) -> Iterator[tuple[NDArray[np.int64], pa.Table]]:
    """The stored vectors of the revision for the content hashes ``wanted``, regardless of the id they are stored under.

    Each hash is returned once; those with an invalid vector are left out. Parts are read by row groups, so that memory
    use is bounded.

    Yields
    ------
    The indices in ``wanted``, and a table of ``content_hash``, ``extraction`` and ``embedding``, with one or more rows.
    """
    taken = np.zeros(len(wanted), bool)
    for part, near in _parts_with(plan, wanted):
        check_once(part, plan.root)
        some = wanted.take(from_numpy(near))
        for group in read_groups(plan.root / part.path, ["content_hash", "extraction", "embedding"]):
            places = to_numpy(pc.fill_null(pc.index_in(group["content_hash"], value_set=some), -1)).copy()
            places[[*faults(to_matrix(group))]] = -1
            first = np.unique(places, return_index=True)[1]
            rows = np.sort([row for row in first if places[row] >= 0 and not taken[near[places[row]]]]).astype(np.int64)
            if len(rows):
                indices = near[places[rows]]
                taken[indices] = True
                yield indices, group.take(from_numpy(rows))


def _parts_with(plan: EmbedPlan, wanted: pa.Array) -> Iterator[tuple[Part, NDArray[np.int64]]]:
    """The parts of a plan that hold any of the content hashes ``wanted``, and the indices in ``wanted`` of those."""
    left = list(plan.parts) if len(wanted) else []
    while left:
        parts: list[Part] = []
        hashes: list[pa.Array] = []
        while left and sum(len(some) for some in hashes) < LOOKUP_ROWS:
            parts.append(left.pop(0))
            hashes.append(one_chunk(read_part(plan.root / parts[-1].path, ["content_hash"])["content_hash"]))
        places = to_numpy(pc.fill_null(pc.index_in(pa.concat_arrays(hashes), value_set=wanted), -1))
        ends = np.cumsum([len(some) for some in hashes])
        for part, some in zip(parts, np.split(places, ends[:-1]), strict=True):
            near = np.unique(some[some >= 0]).astype(np.int64)
            if len(near):
                yield part, near
