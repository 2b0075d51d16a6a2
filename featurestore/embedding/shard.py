"""Computes a shard: a share of a store's images, as final parts and a receipt in a folder; the store is only read."""

import hashlib
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.embedding.assembly import Shard
from featurestore.embedding.compute import Computation
from featurestore.embedding.embed import EmbedReport, check_arguments
from featurestore.embedding.engine import check_engines
from featurestore.embedding.plan import EmbedPlan, make_plan, pairs
from featurestore.embedding.receipt import Receipt, write_receipt
from featurestore.embedding.shard_folder import EarlierShard, shard_folder
from featurestore.embedding.share import Share
from featurestore.embedding.staging import Run
from featurestore.errors import InputError
from featurestore.progress import Progress
from featurestore.storage.layout import Layout
from featurestore.storage.parts import read_part
from featurestore.storage.remote import objects_at
from featurestore.storage.state import read_state


@dataclass(frozen=True)
class ShardPlace:
    """Which share to compute, and the folder to compute it into."""

    share: Share
    out: Path


def shard_place(shard: str | None, out: str | Path | None) -> ShardPlace | None:
    """The share and the folder that were named; None if neither was.

    Raises
    ------
    InputError
        When only one was, or the shard is not NUMBER/COUNT.
    """
    if shard is None and out is None:
        return None
    if shard is None or out is None:
        raise InputError("got only one of --shard (shard=) and --out (out=): name both, as in --shard 3/16 --out DIR")
    return ShardPlace(Share.parse(shard), Path(out))


def embed_shard(
    layout: Layout,
    backbone: Backbone,
    *,
    place: ShardPlace,
    batch_size: int = 32,
    workers: int | None = None,
    other_engine: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> EmbedReport:
    """Compute the share of ``place`` of the images of an opened state into its folder; see `compute_shard`."""
    check_arguments(backbone, batch_size, workers)
    spec = backbone.spec
    plan = plan_shard(layout, spec, place.share)
    receipt = compute_shard(
        plan,
        backbone,
        place.out,
        share=place.share,
        batch_size=batch_size,
        workers=workers,
        other_engine=other_engine,
        wait_seconds=wait_seconds,
        on_progress=on_progress,
    )
    done = receipt.computed + receipt.reused + len(receipt.refused)
    return EmbedReport(
        backbone=spec.name,
        revision=spec.revision,
        embed_dim=spec.embed_dim,
        present=plan.present + len(plan.todo) - done,
        reused=receipt.reused,
        computed=receipt.computed,
        refused=dict(receipt.refused.values()),
        seconds=receipt.seconds,
        notes=spec.notes,
        synthetic=spec.synthetic,
        shard=str(place.share),
    )


def open_layout(location: str) -> Layout:
    """The tables of the current state of the store at ``location``, a folder or an address.

    Raises
    ------
    StoreNotFound, StoreError
        When there is no store, or it can't be read.
    """
    objects = objects_at(location)
    return Layout(objects, read_state(objects))


def plan_shard(layout: Layout, spec: BackboneSpec, share: Share | pa.Array) -> EmbedPlan:
    """The images of a ``share``, or with the content hashes that are named, without a vector in a state.

    Raises
    ------
    InputError
        When the store holds no usable image.
    """
    plan = make_plan(layout, spec, share=share)
    pa.default_memory_pool().release_unused()  # memory used for planning
    return plan


def compute_shard(
    plan: EmbedPlan,
    backbone: Backbone,
    out: Path,
    *,
    share: Share | None = None,
    batch_size: int = 32,
    workers: int | None = None,
    other_engine: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> Receipt:
    """Compute the images of ``plan``, as final parts and a receipt that lists them, in a folder inside ``out``.

    Batches are kept after an interrupt, and the same call continues with them. What an earlier receipt in the folder
    lists is not computed again; images that were refused are tried again.

    Parameters
    ----------
    plan
        Its images are read where they lie. The store is not read if ``plan.parts`` is empty and ``other_engine``.
    out
        The folder, which is created; several shards can be computed in it at the same time.
    share
        What was planned, see `plan_shard`; None if content hashes were named.

    Returns
    -------
    The receipt, with the counts of this call.

    Raises
    ------
    BackboneError, InputError
        As `Computation.shards`; when ``out`` holds other files, or the same shard of another store.
    StoreLocked
        When another process is computing the same shard in ``out``, and did not finish in time.
    StoreError
        When ``out`` can't be written.
    """
    started = time.monotonic()
    with shard_folder(out, _name(plan, share), wait_seconds=wait_seconds) as folder:
        run = Run(out, folder, plan.spec, lambda: True)
        earlier = EarlierShard.of(run, plan)
        todo = plan.todo.filter(pc.invert(pc.is_in(pairs(plan.todo), value_set=earlier.pairs)))
        work = Computation(replace(plan, todo=todo), run, batch_size, workers, other_engine)
        written = _Written(work, earlier, share, started)
        computed_by = [one for receipt in earlier.receipts for one in receipt.extractions]
        if len(todo) and computed_by and not other_engine:
            check_engines(plan, [*computed_by, run.extraction])
        if len(todo) or not earlier.whole:
            for shard in work.shards(backbone, on_progress=on_progress):
                written.add(shard)
            written.add(work.rest())
        return written.latest or written.receipt()


class _Written:
    """The receipt of a shard, written anew for each group of parts, so that their batches can be removed."""

    def __init__(self, work: Computation, earlier: EarlierShard, share: Share | None, started: float) -> None:
        self._work = work
        self._share = share
        self._started = started
        self.latest: Receipt | None = None
        self._files = list(earlier.files)
        self._parts = list(earlier.parts)
        self._recorded = {one.id: one for receipt in earlier.receipts for one in receipt.extractions}
        self._computed_by: set[str] = set(self._recorded)

    def add(self, shard: Shard) -> None:
        """List the parts of ``shard``."""
        run = self._work.run
        for part in shard.parts:
            path = run.root / part.path
            self._computed_by |= set(read_part(path, ["extraction"])["extraction"].unique().to_pylist())
            self._parts.append(replace(part, path=path.name))
        run.check()
        self.latest = self.receipt()
        file = write_receipt(self.latest)
        for older in self._files:
            if older != file:
                older.unlink(missing_ok=True)
        self._files = [file]
        run.discard(shard.batches)

    def receipt(self) -> Receipt:
        """The receipt of what was computed so far."""
        work, plan = self._work, self._work.plan
        records = self._recorded | work.run.extractions
        return Receipt(
            folder=work.run.folder,
            store=plan.state.store,
            images=plan.state.tables["images"],
            spec=plan.spec,
            extractions=tuple(records[one] for one in sorted(self._computed_by & records.keys())),
            parts=tuple(self._parts),
            refused={digest: (name, work.refused[name]) for digest, name in work.given_up.items()},
            computed=work.computed,
            reused=work.reused,
            seconds=round(time.monotonic() - self._started, 3),
            share=self._share,
        )


def _name(plan: EmbedPlan, share: Share | None) -> str:
    if share is not None:
        what = f"{share.number}-of-{share.count}"
    else:
        what = hashlib.sha256("".join(sorted(plan.hashes.to_pylist())).encode()).hexdigest()[:16]
    return f"{plan.spec.name}-{plan.spec.revision}-{what}"
