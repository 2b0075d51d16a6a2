"""Publishes shards: checks the parts that receipts list, and commits the vectors that a store lacks."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, one_chunk, to_numpy
from featurestore.catalog.views import failing_after
from featurestore.embedding.assembly import PART_ROWS, Shard, write_vectors
from featurestore.embedding.compute import is_due
from featurestore.embedding.engine import check_engines, recorded_engines
from featurestore.embedding.plan import EmbedPlan, distinct_hashes, make_plan, pairs, usable_images
from featurestore.embedding.publish import Publisher, shown_before
from featurestore.embedding.receipt import Receipt, receipts_of
from featurestore.embedding.received import read_received
from featurestore.embedding.share import shares_of
from featurestore.embedding.staging import Run, open_run, to_matrix
from featurestore.errors import InputError
from featurestore.progress import Progress
from featurestore.storage.layout import Layout
from featurestore.storage.parts import Part
from featurestore.storage.state import read_state


@dataclass(frozen=True)
class PublishReport:
    """The result of publishing the shards of one backbone.

    Parameters
    ----------
    receipts
        Number of receipts.
    added
        Vectors that are new in the store.
    skipped
        Vectors that the store had already, or whose image was removed or replaced since.
    missing
        Usable images that have no vector of the revision, and were not refused.
    missing_shards
        The shards that these images are in, as ``--shard`` takes them.
    refused
        The reason for each image that got no vector.
    replaced
        The revision that the backbone's views showed before; empty if it is the same or there was none.
    failing_views
        The views of yours that can't be used any more, each with the reason.
    synthetic
        Whether the backbone's weights are made up.
    """

    backbone: str
    revision: str
    embed_dim: int
    receipts: int
    added: int
    skipped: int
    missing: int
    missing_shards: tuple[str, ...]
    refused: Mapping[str, str]
    seconds: float
    replaced: str = ""
    failing_views: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False


def publish_folders(
    root: Path,
    folders: Sequence[Path],
    *,
    other_engine: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> list[PublishReport]:
    """Publish all shards in ``folders``; see `publish_receipts`, which is called for each backbone.

    Raises
    ------
    InputError
        When there is no receipt, or those of one backbone are of several revisions.
    """
    by_name: dict[str, dict[str, list[Receipt]]] = {}
    for receipt in receipts_of(folders):
        by_name.setdefault(receipt.spec.name, {}).setdefault(receipt.spec.revision, []).append(receipt)
    if not by_name:
        named = ", ".join(repr(str(folder)) for folder in folders[:3])
        raise InputError(f"no receipt of a shard in {named}: compute one with `featurestore embed --shard … --out DIR`")
    for name, revisions in by_name.items():
        if len(revisions) > 1:
            (one, first), (other, second) = [(key, found[0].folder) for key, found in revisions.items()][:2]
            raise InputError(
                f"the shards of {name!r} are of several revisions, {one} in {str(first)!r} and {other} in "
                f"{str(second)!r}: publish the folders of one revision"
            )
    return [
        publish_receipts(root, receipts, other_engine=other_engine, wait_seconds=wait_seconds, on_progress=on_progress)
        for revisions in by_name.values()
        for receipts in revisions.values()
    ]


def publish_receipts(
    root: Path,
    receipts: Sequence[Receipt],
    *,
    other_engine: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> PublishReport:
    """Check the parts that ``receipts`` of one revision list, and add the vectors that the store in ``root`` lacks.

    The order of the receipts does not matter; vectors that were published before are skipped. The views of the backbone
    switch to the revision when every usable image has a vector or was refused. The store is locked only briefly.

    Raises
    ------
    InputError
        When a receipt is of another store, or another engine computed others (unless ``other_engine``).
    IntegrityError
        When a part is missing or damaged; what was checked before may have been published.
    StoreLocked
        When another process is writing, or computes or publishes this revision, and did not finish in time.
    """
    spec = max(receipts, key=lambda receipt: receipt.spec.synthetic).spec  # what one says is made up is made up
    purpose = f"publish {spec.name}"
    with open_run(root, spec, wait_seconds=wait_seconds, purpose=purpose) as run:
        return publish_into(
            run,
            receipts,
            purpose=purpose,
            other_engine=other_engine,
            wait_seconds=wait_seconds,
            on_progress=on_progress,
        )


def publish_into(
    run: Run,
    receipts: Sequence[Receipt],
    *,
    purpose: str,
    other_engine: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> PublishReport:
    """As `publish_receipts`, for a caller that has opened the ``run`` of the revision, and keeps it open."""
    started, spec, objects = time.monotonic(), run.spec, run.objects
    layout = Layout(objects, read_state(objects))
    _check_fit(receipts, run, layout)
    plan = make_plan(layout, spec)
    received = {one.id: one for receipt in receipts for one in receipt.extractions}
    if not other_engine:
        check_engines(plan, received.values())
    run.extractions = received
    publisher, intake = Publisher(run, purpose, wait_seconds), _Intake(plan, run, {*received, *recorded_engines(plan)})
    for shard in intake.shards(receipts, on_progress):
        publisher.offer(plan, shard)
    refused, missing = _without_vector(plan, intake.taken, receipts)
    complete = not missing.any() and read_state(objects).tables["images"] == layout.state.tables["images"]
    shown = shown_before(read_state(objects), spec)
    publisher.publish(plan, intake.rest(), complete=complete, last=True)
    state = read_state(objects)
    replaced = shown if state.revisions.get(spec.name) == spec.revision else ""
    return PublishReport(
        backbone=spec.name,
        revision=spec.revision,
        embed_dim=spec.embed_dim,
        receipts=len(receipts),
        added=int(intake.taken.sum()),
        skipped=intake.skipped,
        missing=int(missing.sum()),
        missing_shards=_missing_shards(layout, plan.todo.filter(from_numpy(missing)), receipts),
        refused=refused,
        seconds=time.monotonic() - started,
        replaced=replaced,
        failing_views=failing_after(run.root, state, replaced),
        synthetic=spec.synthetic,
    )


class _Intake:
    """Turns received parts into parts of the store, each planned image once.

    Parameters
    ----------
    extractions
        The ids of the known extraction records.
    """

    def __init__(self, plan: EmbedPlan, run: Run, extractions: set[str]) -> None:
        self.taken = np.zeros(len(plan.todo), bool)
        self.skipped = 0
        self._run = run
        self._extractions = extractions
        self._keys = one_chunk(pairs(plan.todo))
        self._ids = to_numpy(plan.todo["ImgId"])
        self._group: list[pa.Table] = []
        self._parts: list[Part] = []
        self._published = 0

    def shards(self, receipts: Iterable[Receipt], on_progress: Progress | None = None) -> Iterator[Shard]:
        """Read and check the parts of ``receipts``, and yield their new rows when they are worth a commit."""
        # In one order, whatever that of the folders is; all images with the same bytes are in one receipt.
        ordered = sorted(receipts, key=lambda one: [(part.first_id, part.sha256) for part in one.parts])
        total, done = sum(receipt.rows for receipt in ordered), 0
        for receipt in ordered:
            for part in receipt.parts:
                rows = self._new(receipt, part)
                self.skipped += part.rows - len(rows)
                self._group.append(rows)
                yield from self._due()
                done += part.rows
                if on_progress:
                    on_progress(done, total)

    def rest(self) -> Shard:
        """The rows that are in no shard yet."""
        self._write()
        shard = Shard(tuple(self._parts), ())
        self._parts.clear()
        return shard

    def _new(self, receipt: Receipt, part: Part) -> pa.Table:
        """The rows of ``part`` for planned images that have no vector yet; it is read only if there can be any."""
        first, end = np.searchsorted(self._ids, [part.first_id or 0, (part.last_id or 0) + 1])
        if self.taken[first:end].all():
            return pa.table({"ImgId": pa.array([], pa.int32())})
        rows = read_received(receipt, part, self._extractions)
        near = self._keys.slice(first, end - first)  # a look-up makes a hash table of all that it looks in
        places = to_numpy(pc.fill_null(pc.index_in(pairs(rows), value_set=near), -1)).astype(np.int64)
        wanted = np.zeros(len(rows), bool)
        wanted[np.unique(places, return_index=True)[1]] = True
        wanted &= (places >= 0) & ~self.taken[first + places]
        self.taken[first + places[wanted]] = True
        return rows.filter(from_numpy(wanted))

    def _due(self) -> list[Shard]:
        grouped = sum(map(len, self._group))
        waiting = grouped + sum(part.rows for part in self._parts)
        due = is_due(waiting, self._published)
        if due or grouped >= PART_ROWS:
            self._write()
        if not due:
            return []
        self._published += waiting
        return [self.rest()]

    def _write(self) -> None:
        """Write the rows that wait as one part, so that many small parts of shards become few."""
        group = [rows for rows in self._group if len(rows)]
        self._group.clear()
        if group:
            rows = pa.concat_tables(group)
            extractions = one_chunk(rows["extraction"])
            self._parts.append(write_vectors(self._run, rows, to_matrix(rows), extractions))


def _check_fit(receipts: Sequence[Receipt], run: Run, layout: Layout) -> None:
    """Refuse receipts of another store or another revision."""
    address = layout.objects.address
    for receipt in receipts:
        if receipt.store != layout.state.store:
            raise InputError(
                f"the shard in {str(receipt.folder)!r} was computed for another store than {address!r}: name "
                "its store with --store"
            )
        if (receipt.spec.name, receipt.spec.revision) != (run.spec.name, run.spec.revision):
            raise InputError(
                f"the shard in {str(receipt.folder)!r} is of revision {receipt.spec.revision} of "
                f"{receipt.spec.name!r}, expected {run.spec.revision} of {run.spec.name!r}: publish one at a time"
            )


def _without_vector(
    plan: EmbedPlan, taken: NDArray[np.bool_], receipts: Sequence[Receipt]
) -> tuple[dict[str, str], NDArray[np.bool_]]:
    """The images that got no vector: the reasons of those that were refused, and which rows of ``todo`` are missing."""
    refused = {digest: said for receipt in receipts for digest, said in receipt.refused.items()}
    without = plan.todo["content_hash"].filter(from_numpy(~taken))
    reasons = dict(refused[digest] for digest in without.unique().to_pylist() if digest in refused)
    given_up = pc.is_in(plan.todo["content_hash"], value_set=pa.array(sorted(refused), pa.string()))
    return reasons, ~taken & ~to_numpy(given_up)


def _missing_shards(layout: Layout, missing: pa.Table, receipts: Sequence[Receipt]) -> tuple[str, ...]:
    """The shards that the ``missing`` images are in, if the receipts say into how many the images were divided."""
    counts = Counter(receipt.share.count for receipt in receipts if receipt.share is not None)
    if not len(missing) or not counts:
        return ()
    hashes = distinct_hashes(usable_images(layout))
    places = to_numpy(pc.index_in(missing["content_hash"].unique(), value_set=hashes)).astype(np.int64)
    return tuple(map(str, shares_of(places, len(hashes), counts.most_common(1)[0][0])))
