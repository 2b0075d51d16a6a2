"""Publishes the final parts of a run as rows of the store; holds the store's lock only while files are renamed."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore import system
from featurestore.arrow import one_chunk
from featurestore.backbones.base import BackboneSpec
from featurestore.catalog.writer import Writer, open_writer
from featurestore.collections.ingest import images_of
from featurestore.collections.numbering import FORGOTTEN
from featurestore.embedding.assembly import Shard
from featurestore.embedding.plan import KEY, EmbedPlan, pairs
from featurestore.embedding.provenance import RECORDED_IN, Extraction, record
from featurestore.embedding.staging import Run, lost
from featurestore.errors import Conflict, IntegrityError, StoreLocked, reason
from featurestore.events import happened
from featurestore.files import make_folder
from featurestore.storage.layout import Layout
from featurestore.storage.lock import replaced
from featurestore.storage.names import embeddings_key, inside
from featurestore.storage.parts import Part, check_part, read_part, write_part
from featurestore.storage.state import State, read_state

# How many seconds the last publication of a run waits for another writer, unless the user asks for more.
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
    """Move ``parts`` from the folder of a run into the store, and list them in the manifest of the planned revision.

    Their vectors were checked when they were written (`assembly`). The caller must compare their bytes with their
    checksums before it takes the lock; this function only checks that each file exists and has its size.

    Parameters
    ----------
    extractions
        What computed them: the rows that the table `extractions` may lack.
    disjoint
        Paths of existing parts of the revision that are known to share no key with ``parts``. If another existing part
        shares a key, its vector is kept, and the new part is rewritten without that row.
    complete
        Whether, with these parts, every image of the plan has a vector or was refused. The backbone's views then switch
        to this revision; otherwise they switch only if they show no revision yet.

    Returns
    -------
    The parts with their paths in the store.

    Raises
    ------
    StoreError
        When the store is not the one that was planned.
    IntegrityError
        When the file of a part is missing or has another size; nothing is then published.
    """
    spec, root = plan.spec, writer.root
    key = embeddings_key(spec.name, spec.revision)
    for part in parts:
        _check_there(root, part)
    while True:
        if writer.state.store != plan.state.store:
            raise replaced(writer.objects.address)
        parts = without_forgotten(writer.layout, plan.state, parts)
        others = [part for part in writer.layout.parts(key) if part.path not in disjoint]
        parts = [new for part in parts for new in _without_known(writer.layout, part, others)]
        try:
            with writer.commit() as commit:
                if parts:
                    record(commit, spec, extractions)
                    parts = _move(root, key, parts)
                    commit.add(key, parts)
                if commit.parts(key) and (complete or spec.name not in writer.state.revisions):
                    commit.set_revision(spec.name, spec.revision)
        except Conflict:  # on an object store: another writer published too, and may have the same keys
            writer.renew()
            continue
        _log_published(writer, spec, parts)
        return list(parts)


def _log_published(writer: Writer, spec: BackboneSpec, parts: Sequence[Part]) -> None:
    """Log that ``parts`` are rows of the store now."""
    facts = {
        "store": writer.objects.address,
        "backbone": spec.name,
        "revision": spec.revision,
        "vectors": sum(part.rows for part in parts),
        "present": sum(part.rows for part in writer.layout.parts(embeddings_key(spec.name, spec.revision))),
    }
    happened("publish", "%(vectors)d vectors of %(backbone)r published, %(present)d in all", facts)


class Publisher:
    """Publishes the shards of one run.

    Parameters
    ----------
    renew
        Whether the last publication updates ``store.duckdb`` even if the run had nothing to publish: the command left
        the change before it to this one.
    """

    def __init__(self, run: Run, purpose: str, wait_seconds: float, *, renew: bool = False) -> None:
        self.run = run
        self.purpose = purpose
        self.wait_seconds = wait_seconds
        self._waiting: list[Shard] = []
        self._mine: set[str] = set()
        self._failed = False
        self._renew = renew

    def offer(self, plan: EmbedPlan, shard: Shard) -> None:
        """Publish ``shard``; if another process is writing, it is kept and published with the next one."""
        self._waiting.append(shard)
        with suppress(StoreLocked):
            self._publish(plan, complete=False, last=False, wait_seconds=0)

    def publish(self, plan: EmbedPlan, shard: Shard, *, complete: bool, last: bool = False) -> None:
        """Publish ``shard`` and all shards that are still waiting; see `publish` for ``complete`` and other errors.

        Parameters
        ----------
        last
            Whether the run ends with it. It then waits for another writer for at least a minute.

        Raises
        ------
        StoreLocked
            When another process is writing and did not finish in time; staged batches are kept for the next run.
        """
        self._waiting.append(shard)
        wait_seconds = max(self.wait_seconds, LAST_WAIT) if last else self.wait_seconds
        if not self._failed:  # after a failure the next run takes over the complete batches
            self._publish(plan, complete=complete, last=True, wait_seconds=wait_seconds)

    def _publish(self, plan: EmbedPlan, *, complete: bool, last: bool, wait_seconds: float) -> None:
        parts = [part for shard in self._waiting for part in shard.parts]
        behind = self._renew or bool(self._mine)
        if not parts and not (last and behind) and not _switches(read_state(plan.objects), plan.spec, complete):
            return
        self.run.check()
        for part in parts:
            _check_bytes(plan.root, part)
        if parts:  # before the lock is taken: making folders waits for the disk
            for table in (embeddings_key(plan.spec.name, plan.spec.revision), *RECORDED_IN):
                make_folder(inside(plan.root, plan.root / table))
        known = self._mine | {part.path for part in plan.parts}
        new = [] if self._mine else self.run.extractions.values()
        with open_writer(plan.objects, wait_seconds=wait_seconds, purpose=self.purpose, renew=last) as writer:
            self._failed = True
            stored = publish(writer, plan, parts, extractions=new, disjoint=known, complete=complete)
            self._failed = False
        self._mine |= {part.path for part in stored}
        for shard in self._waiting:
            self.run.discard(shard.batches)
        self._waiting.clear()


def _switches(state: State, spec: BackboneSpec, complete: bool) -> bool:
    """Whether the backbone's views show another revision or none, and must switch to this one."""
    there = embeddings_key(spec.name, spec.revision) in state.tables
    shown = state.revisions.get(spec.name)
    return there and shown != spec.revision and (complete or shown is None)


def shown_before(state: State, spec: BackboneSpec) -> str:
    """The revision that the views of the backbone show, if it is not that of ``spec``; otherwise an empty string."""
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
        raise lost(path, f"it has {size} bytes, expected {part.size_bytes}")


def _without_known(layout: Layout, part: Part, others: Sequence[Part]) -> list[Part]:
    """``part`` without the keys in ``others``: ``[part]`` if they share none, an empty list if they share all."""
    root, near = layout.root, [other for other in others if _overlap(part, other)]
    if not near:
        return [part]
    layout.fetch(near)
    known = pa.concat_tables([read_part(root / other.path, KEY) for other in near])
    twice = pc.is_in(pairs(read_part(root / part.path, KEY)), value_set=one_chunk(pairs(known)))
    if not pc.any(twice).as_py():
        return [part]
    rows = read_part(root / part.path).filter(pc.invert(twice)).replace_schema_metadata(None)
    return [write_part(rows, root, Path(part.path).parent.as_posix())] if len(rows) else []


def without_forgotten(layout: Layout, planned: State, parts: Sequence[Part]) -> list[Part]:
    """``parts`` without rows of images that `forget` has removed since ``planned``, from another machine."""
    if layout.state.forgotten_at == planned.forgotten_at:
        return list(parts)
    images, left = images_of(layout), []
    there = one_chunk(images.filter(pc.not_equal(images["status"], FORGOTTEN))["ImgId"])
    for part in parts:
        rows = read_part(layout.root / part.path).replace_schema_metadata(None)
        stays = pc.is_in(rows["ImgId"], value_set=there)
        if pc.all(stays).as_py():
            left.append(part)
        elif pc.any(stays).as_py():
            left.append(write_part(rows.filter(stays), layout.root, Path(part.path).parent.as_posix()))
    return left


def _overlap(part: Part, other: Part) -> bool:
    """Whether the id ranges of the two parts overlap."""
    if part.first_id is None or part.last_id is None or other.first_id is None or other.last_id is None:
        return False
    return part.first_id <= other.last_id and other.first_id <= part.last_id


def _move(root: Path, key: str, parts: Sequence[Part]) -> list[Part]:
    """Move the files of ``parts`` into the folder of the table ``key``, and return the parts with their new paths."""
    folder = inside(root, root / key)
    make_folder(folder)
    moved = [replace(part, path=f"{key}/{Path(part.path).name}") for part in parts]
    for part, new in zip(parts, moved, strict=True):
        system.replace(root / part.path, root / new.path)
    system.sync_folder(folder)
    return moved
