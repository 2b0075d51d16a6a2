"""The only place where heads, backbones and splits meet: plans the cells and has the missing ones computed."""

import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.finetune.bench import DEFAULT, Tuning, prepare
from benchmarks.finetune.recipes import find as find_recipes
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find
from benchmarks.plan.cells import Cell, Cost
from benchmarks.plan.checks import warnings_of
from benchmarks.plan.dataset import EmbeddingDataset, aligned, from_store, shuffled
from benchmarks.plan.protocols import Protocol
from benchmarks.results import write as results
from benchmarks.run.cost import measure
from benchmarks.run.pool import computed
from benchmarks.run.work import Limits, Work, as_task
from featurestore import FeatureStore
from featurestore.errors import InputError
from featurestore.progress import Progress

REFERENCE = "logistic_regression"


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
    label: str = "Genre1",
    seed: int = 0,
    seeds: int = 1,
    reference: str | None = None,
    canary: bool = False,
    finetune: Sequence[str] = (),
    weights: str = DEFAULT,
    cost: bool = False,
    limits: Limits | None = None,
    on_progress: Progress | None = None,
    on_cost: Progress | None = None,
) -> list[RunReport]:
    """Compare heads over backbones, one run a protocol; cells that are stored already are not computed again.

    Parameters
    ----------
    heads
        The default ones of each protocol when empty.
    backbones
        Names in the store, or several joined by ``+``; each one in the store when empty.
    seeds
        How many seeds, from ``seed`` on, a head that is random runs with on each split.
    reference
        The row that the others are tested against: ``head`` or ``backbone/head``.
    canary
        Shuffle the labels first: then no head can be better than chance.
    finetune, weights
        Recipes of fine-tuning to run behind the heads, on the same splits, and what they start from: a name, a folder
        or ``none``.
    cost
        Measure time, memory and size of each head in a separate pass, one at a time.
    on_progress, on_cost
        Called with the number of cells, or of measured heads, done and of all.

    Raises
    ------
    InputError
        When the store holds no embeddings, or view, label, protocol or reference don't fit.
    """
    recipes = find_recipes(finetune) if finetune else []
    names = list(backbones) or [info.name for info in store.backbones()]
    if not names:
        raise InputError(f"the store {str(store.path)!r} holds no embeddings: run `featurestore embed` first")
    datasets = aligned([from_store(store, name, view=view, label=label) for name in dict.fromkeys(names)])
    if canary:
        datasets = [shuffled(dataset, seed=seed) for dataset in datasets]
    tuning = prepare(store, datasets[0], recipes=recipes, weights=weights) if recipes else None
    plans = [
        _plan(protocol, heads or find([], protocol=protocol.name), datasets, seed, seeds, reference, canary, tuning)
        for protocol in protocols
    ]
    limits = limits or Limits()
    total, before, reports = sum(len(plan.cells) for plan in plans), 0, []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for plan in plans:
            started = time.monotonic()
            done = results.stored_cells(store, [cell.key for cell in plan.cells])
            missing = [cell for cell in plan.cells if cell.key not in done]
            run_id = results.start_run(store, plan)
            done_before = before + len(plan.cells) - len(missing)
            work = Work(store, run_id, Path(folder), limits, tuning, on_progress, done_before, total)
            work.run(missing)
            before += len(plan.cells)
            reports.append(RunReport(run_id, len(plan.cells), len(missing), work.failed, time.monotonic() - started))
            if cost and not plan.protocol.tunes:
                _measure(store, plan.cells, Path(folder), limits, on_cost)
    return reports


def _plan(
    protocol: Protocol,
    heads: Sequence[HeadSpec],
    datasets: Sequence[EmbeddingDataset],
    seed: int,
    seeds: int,
    reference: str | None,
    canary: bool,
    tuning: Tuning | None,
) -> results.Plan:
    """All cells; the rows are the same in every dataset, so the splits are too."""
    splits = list(protocol.splits(datasets[0]))
    cells: list[Cell] = []
    for dataset in datasets:
        for split in splits:
            made: dict[tuple[str, int], Cell] = {}
            # Those that are made of others come behind them.
            for head in sorted(heads, key=lambda one: bool(one.members)):
                for one in range(seed, seed + seeds) if head.random else [seed]:
                    members = [made.get((name, one)) or made.get((name, seed)) for name in head.members]
                    whole = tuple(member for member in members if member is not None)
                    usable = whole if len(whole) == len(members) and (head.rule != "best" or protocol.tunes) else ()
                    cell = Cell(head, dataset, split, one, protocol.tunes, usable)
                    made[head.name, one] = cell
                    cells.append(cell)
    if tuning:
        cells += tuning.cells(splits, range(seed, seed + seeds))
    # One repeat behind the other: a run that is cut short has whole ones, of every backbone.
    cells.sort(key=lambda cell: cell.split.repeat)
    signs = [sign for dataset in datasets for sign in warnings_of(dataset, splits)]
    return results.Plan(
        protocol,
        cells,
        seed=seed,
        seeds=seeds,
        reference=_reference(reference, heads, datasets),
        reference_named=reference is not None,
        canary=canary,
        warnings=list(dict.fromkeys(signs)),
    )


def _reference(wanted: str | None, heads: Sequence[HeadSpec], datasets: Sequence[EmbeddingDataset]) -> str:
    """``backbone/head`` of the reference row: as named, else logistic regression, else the first head that learns."""
    backbones, names = [dataset.backbone for dataset in datasets], [head.name for head in heads]
    backbone, _, head = (wanted or "").rpartition("/")
    if wanted is not None and (head not in names or backbone not in ("", *backbones)):
        raise InputError(
            f"got {wanted!r} as the reference, expected HEAD or BACKBONE/HEAD of this run "
            f"(heads: {', '.join(names)}; backbones: {', '.join(backbones)})"
        )
    if not head:
        head = REFERENCE if REFERENCE in names else next((name for name in names if name != "majority"), names[0])
    return f"{backbone or backbones[0]}/{head}"


def _measure(
    store: FeatureStore, cells: Sequence[Cell], folder: Path, limits: Limits, on_progress: Progress | None
) -> None:
    """The cost of each head on each backbone, one at a time, on the first split of the whole training part.

    One that failed there is left out: it would hang or crash again.
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
        time_limit=limits.seconds,
        memory_limit_mb=limits.memory_mb,
        fresh=True,
    )
    found = []
    try:
        with closing(measured):  # an interrupt stops the worker first
            for number, cost in measured:
                found.append((wanted[number], cost))
                if on_progress:
                    on_progress(len(found), len(wanted))
    finally:
        if found:
            results.store_costs(store, found)
