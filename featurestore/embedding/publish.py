"""Publish: final parts of a run become rows of the store, under its lock, in the time that a few renames take."""

import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrow import one_chunk
from featurestore.backbones.base import BackboneSpec
from featurestore.catalog.writer import Writer, open_writer
from featurestore.embedding.assembly import Shard
from featurestore.embedding.plan import KEY, EmbedPlan, pairs
from featurestore.embedding.provenance import RECORDED_IN, Extraction, record
from featurestore.embedding.staging import Run, lost
from featurestore.errors import IntegrityError, StoreLocked, reason
from featurestore.files import make_folder, sync_folder
from featurestore.storage.lock import replaced
from featurestore.storage.names import embeddings_key, inside
from featurestore.storage.parts import Part, check_part, read_part, write_part
from featurestore.storage.state import State, read_state

# How long the last publication of a run waits for another writer, where the user does not say longer.
LAST_WAIT = 60.0


def publish(
    writer: Writer,
    plan: EmbedPlan,
    parts: Sequence[Part],
    *,
    extractions: Iterable[Extraction] = (),
    disjoint: Collection[str] = (),
    complete: bool,
) -> list[Part]:
    """Name ``parts``, which lie in the folder of a run, in the manifest of the planned revision.

    Their vectors were checked when they were written (`assembly`), their bytes are to be compared with their checksums
    before the lock is taken; here it is only seen that they are there.

    Parameters
    ----------
    extractions
        What computed them, so far as the table `extractions` may not have it yet.
    disjoint
        The paths of parts of the revision that are known to have no key in common with ``parts``. Where another one
        has, the vector that is there stays, and the part is written without that row.
    complete
        Every image of the plan has its vector or was refused, with these parts: the views of the backbone switch to
        this revision. Else they do so only if they show none.

    Returns
    -------
    The parts as they are in the store now.

    Raises
    ------
    StoreError
        When the store is not the one that was planned.
    IntegrityError
        When a part is not there as it was written; then nothing is published.
    """
    spec, root = plan.spec, writer.root
    if writer.state.store != plan.state.store:
        raise replaced(root)
    key = embeddings_key(spec.name, spec.revision)
    for part in parts:
        _check_there(root, part)
    others = [part for part in writer.layout.parts(key) if part.path not in disjoint]
    parts = [new for part in parts for new in _without_known(root, part, others)]
    with writer.commit() as commit:
        if parts:
            record(commit, spec, extractions)
            parts = _move(root, key, parts)
            commit.add(key, parts)
        if commit.parts(key) and (complete or spec.name not in writer.state.revisions):
            commit.set_revision(spec.name, spec.revision)
    return list(parts)


class Publisher:
    """Publishes the shards of one run."""

    def __init__(self, run: Run, purpose: str, wait_seconds: float) -> None:
        self.run = run
        self.purpose = purpose
        self.wait_seconds = wait_seconds
        self._waiting: list[Shard] = []
        self._mine: set[str] = set()
        self._failed = False

    def offer(self, plan: EmbedPlan, shard: Shard) -> None:
        """Publish ``shard``, unless another process is writing: then it comes with the next one."""
        self._waiting.append(shard)
        with suppress(StoreLocked):
            self._publish(plan, complete=False, last=False, wait_seconds=0)

    def publish(self, plan: EmbedPlan, shard: Shard, *, complete: bool, last: bool = False) -> None:
        """Publish ``shard`` and what still waits; see `publish` for ``complete`` and the errors.

        Parameters
        ----------
        last
            The run ends with it: another writer is waited for, a minute at least.

        Raises
        ------
        StoreLocked
            When another process writes and did not end in time; what is staged stays for the next run.
        """
        self._waiting.append(shard)
        wait_seconds = max(self.wait_seconds, LAST_WAIT) if last else self.wait_seconds
        if not self._failed:  # else the next run takes over the batches that are whole
            self._publish(plan, complete=complete, last=True, wait_seconds=wait_seconds)

    def _publish(self, plan: EmbedPlan, *, complete: bool, last: bool, wait_seconds: float) -> None:
        parts = [part for shard in self._waiting for part in shard.parts]
        if not parts and not (last and self._mine) and not _switches(read_state(plan.root), plan.spec, complete):
            return
        self.run.check()
        for part in parts:
            _check_bytes(plan.root, part)
        if parts:  # before the lock is taken, as all that waits for the disk and can be done so
            for table in (embeddings_key(plan.spec.name, plan.spec.revision), *RECORDED_IN):
                make_folder(inside(plan.root, plan.root / table))
        known = self._mine | {part.path for part in plan.parts}
        new = [] if self._mine else self.run.extractions.values()
        with open_writer(plan.root, wait_seconds=wait_seconds, purpose=self.purpose, renew=last) as writer:
            self._failed = True
            stored = publish(writer, plan, parts, extractions=new, disjoint=known, complete=complete)
            self._failed = False
        self._mine |= {part.path for part in stored}
        for shard in self._waiting:
            self.run.discard(shard.batches)
        self._waiting.clear()


def _switches(state: State, spec: BackboneSpec, complete: bool) -> bool:
    """Whether the views of the backbone are to show this revision from now on, and do not yet."""
    there = embeddings_key(spec.name, spec.revision) in state.tables
    shown = state.revisions.get(spec.name)
    return there and shown != spec.revision and (complete or shown is None)


def shown_before(state: State, spec: BackboneSpec) -> str:
    """The revision that the views of this backbone show, when ``spec`` is another; empty when it is not."""
    shown = state.revisions.get(spec.name, "")
    return "" if shown == spec.revision else shown


def _check_bytes(root: Path, part: Part) -> None:
    try:
        check_part(part, root)
    except (IntegrityError, OSError) as error:
        raise lost(root / part.path, reason(error)) from error


def _check_there(root: Path, part: Part) -> None:
    path = root / part.path
    try:
        size = path.stat().st_size
    except OSError as error:
        raise lost(path, error.strerror or str(error)) from error
    if size != part.size_bytes:
        raise lost(path, f"it has {size} bytes in place of {part.size_bytes}")


def _without_known(root: Path, part: Part, others: Sequence[Part]) -> list[Part]:
    """``part`` without the keys that others have: itself where there are none, nothing where they have all."""
    near = [other for other in others if _overlap(part, other)]
    if not near:
        return [part]
    known = pa.concat_tables([read_part(root / other.path, KEY) for other in near])
    twice = pc.is_in(pairs(read_part(root / part.path, KEY)), value_set=one_chunk(pairs(known)))
    if not pc.any(twice).as_py():
        return [part]
    rows = read_part(root / part.path).filter(pc.invert(twice)).replace_schema_metadata(None)
    return [write_part(rows, root, str(Path(part.path).parent))] if len(rows) else []


def _overlap(part: Part, other: Part) -> bool:
    """Whether the ranges of their ids meet."""
    if part.first_id is None or part.last_id is None or other.first_id is None or other.last_id is None:
        return False
    return part.first_id <= other.last_id and other.first_id <= part.last_id


def _move(root: Path, key: str, parts: Sequence[Part]) -> list[Part]:
    """Give ``parts`` their place among those of the table ``key``."""
    folder = inside(root, root / key)
    make_folder(folder)
    moved = [replace(part, path=f"{key}/{Path(part.path).name}") for part in parts]
    for part, new in zip(parts, moved, strict=True):
        os.replace(root / part.path, root / new.path)
    sync_folder(folder)
    return moved
