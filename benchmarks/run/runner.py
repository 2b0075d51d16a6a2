"""Compares heads over backbones: plans the cells, has the missing ones computed, measures what the heads cost."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.finetune.cells import DEFAULT, FineTuning, prepare
from benchmarks.finetune.recipes import find as find_recipes
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find
from benchmarks.plan.cells import Cell, Cost, Plan
from benchmarks.plan.dataset import EmbeddingDataset, aligned, shuffled
from benchmarks.plan.groups import Grouping
from benchmarks.plan.near import grouped
from benchmarks.plan.prompts import Prompting, prompted
from benchmarks.plan.protocols import Protocol
from benchmarks.plan.reading import from_store
from benchmarks.results import write as results
from benchmarks.results.pending import Pending
from benchmarks.run.cluster import on_cluster
from benchmarks.run.cost import measure, read_cost
from benchmarks.run.execution import FLUSH_WAIT_SECONDS, LAST_FLUSH_SECONDS, Execution, OnRepeat, as_task
from benchmarks.run.limits import Limits
from benchmarks.run.planning import plan_run
from benchmarks.run.pool import computed
from featurestore import FeatureStore
from featurestore.errors import InputError
from featurestore.progress import Progress

# How long a run that has results of an earlier one to store waits for another writer.
START_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class RunReport:
    """What one call of `run` did; ``run_id`` names the rows that it stored or found."""

    run_id: str
    cells: int
    computed: int
    failed: int
    seconds: float


def run(
    store: FeatureStore,
    *,
    heads: Sequence[HeadSpec] = (),
    protocols: Sequence[Protocol],
    backbones: Sequence[str] = (),
    view: str = "labeled",
    label: str | None = None,
    seed: int = 0,
    seeds: int = 1,
    reference: str | None = None,
    canary: bool = False,
    grouping: Grouping | None = None,
    finetune: Sequence[str] = (),
    weights: str = DEFAULT,
    prompting: Prompting | None = None,
    cost: bool = False,
    limits: Limits | None = None,
    on_progress: Progress | None = None,
    on_cost: Progress | None = None,
    on_repeat: OnRepeat | None = None,
) -> list[RunReport]:
    """Compare heads over backbones, one run a protocol; cells that are stored already are not computed again.

    Parameters
    ----------
    backbones
        Names in the store, or several joined by ``+``; each one in the store when empty.
    label, grouping
        A column of the view, by default that of the collection; what is kept on one side of a drawn split.

    The others as those of `run_datasets`.

    Raises
    ------
    InputError
        When the store holds no embeddings, or view, label, protocol or reference don't fit.
    """
    if finetune:
        find_recipes(finetune)  # an unknown one is refused before any row is read
    return run_datasets(
        store,
        stored_datasets(store, backbones, view=view, label=label, protocols=protocols, grouping=grouping or Grouping()),
        heads=heads,
        protocols=protocols,
        seed=seed,
        seeds=seeds,
        reference=reference,
        canary=canary,
        finetune=finetune,
        weights=weights,
        prompting=prompting,
        cost=cost,
        limits=limits,
        on_progress=on_progress,
        on_cost=on_cost,
        on_repeat=on_repeat,
    )


def run_datasets(
    store: FeatureStore,
    datasets: Sequence[EmbeddingDataset],
    *,
    heads: Sequence[HeadSpec] = (),
    protocols: Sequence[Protocol],
    seed: int = 0,
    seeds: int = 1,
    reference: str | None = None,
    canary: bool = False,
    finetune: Sequence[str] = (),
    weights: str = DEFAULT,
    prompting: Prompting | None = None,
    cost: bool = False,
    limits: Limits | None = None,
    on_progress: Progress | None = None,
    on_cost: Progress | None = None,
    on_repeat: OnRepeat | None = None,
) -> list[RunReport]:
    """Compare heads over ``datasets`` of the same rows, wherever they come from; ``store`` keeps the results.

    Parameters
    ----------
    heads
        The default ones of each protocol when empty.
    protocols
        Of those called ``given`` all read the same column, and so do those called ``across``.
    seeds
        How many seeds, from ``seed`` on, a head that is random runs with on each split.
    reference
        The row that the others are tested against: ``head`` or ``backbone/head``.
    canary
        Shuffle the labels first: then no head can be better than chance.
    finetune, weights
        Recipes of fine-tuning to run after the heads of a repeat; what they start from: a name, a folder or ``none``.
    prompting
        How `zero_shot` names the classes; when no head is named, it runs only over backbones with a text tower.
    cost
        Measure time, memory and size of each head in a separate pass on this machine, one at a time.
    on_progress, on_cost
        Called with the number of cells, or of measured heads, done and of all.
    on_repeat
        Called when the first repeat of all rows is stored, then each time their number has doubled; see `Repeats`.
    """
    recipes = find_recipes(finetune) if finetune else []
    if recipes and limits and limits.on:
        raise InputError("got fine-tuning for a cluster, which computes heads only: leave one of the two out")
    if canary:
        datasets = [shuffled(dataset, seed=seed) for dataset in datasets]
    tuning = prepare(store, datasets[0], recipes=recipes, weights=weights) if recipes else None
    chosen = [heads or find([], protocol=one.name) for one in protocols]
    needs_text = any(head.needs_text for some in chosen for head in some)
    texts = prompted(store, datasets, prompting or Prompting(), named=bool(heads)) if needs_text else {}
    shared = partial(plan_run, datasets=datasets, seed=seed, seeds=seeds, reference=reference, canary=canary)
    shared = partial(shared, tuning=tuning, prompted=texts)
    plans = [shared(one, heads=some) for one, some in zip(protocols, chosen, strict=True)]
    return _carried_out(store, plans, limits or Limits(), tuning, cost, on_progress, on_cost, on_repeat)


def _column_of(protocols: Sequence[Protocol], name: str) -> str | None:
    """The column that the protocol ``name`` reads; None where that is not among ``protocols``."""
    columns = list(dict.fromkeys((one.by if name == "across" else one.column) for one in protocols if one.name == name))
    if len(columns) > 1:
        what = "domain" if name == "across" else "split"
        raise InputError(
            f"got {len(columns)} {what} columns ({', '.join(columns)}), expected one: start a run for each"
        )
    return columns[0] if columns else None


def stored_datasets(
    store: FeatureStore,
    backbones: Sequence[str],
    *,
    view: str,
    label: str | None,
    protocols: Sequence[Protocol],
    grouping: Grouping | None = None,
) -> list[EmbeddingDataset]:
    """What `run` compares over: the rows that all ``backbones`` have, each one in the store when empty."""
    split, by = _column_of(protocols, "given"), _column_of(protocols, "across")
    names = list(backbones) or [info.name for info in store.backbones()]
    if not names:
        raise InputError(f"the store {store.location!r} holds no embeddings: run `featurestore embed` first")
    datasets = [from_store(store, name, view=view, label=label, split=split, by=by) for name in dict.fromkeys(names)]
    return grouped(store, aligned(datasets), grouping or Grouping())


def _carried_out(
    store: FeatureStore,
    plans: Sequence[Plan],
    limits: Limits,
    tuning: FineTuning | None,
    cost: bool,
    on_progress: Progress | None,
    on_cost: Progress | None,
    on_repeat: OnRepeat | None,
) -> list[RunReport]:
    total, before, reports = sum(len(plan.cells) for plan in plans), 0, []
    with (
        on_cluster(limits.on, limits) if limits.on else nullcontext() as cluster,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Pending(store) as pending,
    ):
        pending.adopt()
        pending.store_all(wait_seconds=START_WAIT_SECONDS)
        for plan in plans:
            started = time.monotonic()
            done = results.stored_cells(store, [cell.key for cell in plan.cells])
            missing = [cell for cell in plan.cells if cell.key not in done]
            execution = Execution(
                store,
                results.start_run(store, plan),
                Path(folder),
                limits,
                pending,
                cluster=cluster,
                tuning=tuning,
                on_progress=on_progress,
                on_repeat=on_repeat,
                repeats=1 if plan.protocol.one_split else plan.protocol.repeats,
                done=before + len(plan.cells) - len(missing),
                total=total,
            )
            execution.run(missing)
            before += len(plan.cells)
            seconds = time.monotonic() - started
            reports.append(RunReport(execution.run_id, len(plan.cells), len(missing), execution.failed, seconds))
            if cost and not plan.protocol.tunes:
                _measure(store, plan.cells, Path(folder), limits, pending, on_cost)
    return reports


def _measure(
    store: FeatureStore,
    cells: Sequence[Cell],
    folder: Path,
    limits: Limits,
    pending: Pending,
    on_progress: Progress | None,
) -> None:
    """The cost of each head on each backbone, one at a time, on the first split of the whole training part.

    A head that failed on that split is left out, since it would hang or crash again.
    """
    good = results.stored_cells(store, [cell.key for cell in cells])
    have = results.measured_models(store)
    first: dict[str, Cell] = {}
    for cell in cells:
        trained = cell.dataset.X.shape[1] > 0 and cell.head.rule != "best"
        if trained and cell.model_key not in have and cell.split.size == 1.0:
            first.setdefault(cell.model_key, cell)
    wanted = [cell for cell in first.values() if cell.key in good]
    measured = computed(
        measure,
        [as_task(cell, folder) for cell in wanted],
        workers=1,
        failed=Cost,
        read=read_cost,
        time_limit=limits.seconds,
        memory_limit_mb=limits.memory_mb,
        alone=lambda task: True,
        folder=folder,
    )
    found, wait_seconds = [], FLUSH_WAIT_SECONDS
    try:
        with closing(measured):  # an interrupt stops the worker first
            for number, cost in measured:
                found.append((wanted[number], cost))
                if on_progress:
                    on_progress(len(found), len(wanted))
        wait_seconds = LAST_FLUSH_SECONDS
    finally:
        if found:
            pending.add(results.cost_tables(found))
            pending.store_all(wait_seconds=wait_seconds)
