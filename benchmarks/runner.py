"""The only place where heads, backbones and splits meet: plans cells, runs the missing ones, stores them."""

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import results
from benchmarks.cells import Cell, Outcome, Task, derive, run_cell
from benchmarks.checks import warnings_of
from benchmarks.cost import Cost, measure
from benchmarks.dataset import EmbeddingDataset, aligned, from_store, shuffled
from benchmarks.finetune.bench import DEFAULT, Tuning, prepare
from benchmarks.finetune.bench import computed as fine_tuned
from benchmarks.finetune.recipes import find as find_recipes
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find
from benchmarks.pool import TIME_LIMIT_SECONDS, computed
from benchmarks.protocols import Protocol
from featurestore import FeatureStore
from featurestore.errors import InputError, StoreLocked
from featurestore.progress import Progress

# Finished cells wait at most this long before they are stored.
FLUSH_SECONDS = 5.0
# How long the last ones wait for another writer.
LAST_FLUSH_SECONDS = 600.0
REFERENCE = "logistic_regression"


@dataclass(frozen=True)
class RunReport:
    """What one call of `run` did; ``run_id`` names the rows that it stored or found."""

    run_id: str
    cells: int
    computed: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class Limits:
    """What a run may use.

    Parameters
    ----------
    workers
        Processes, one thread each; the number of cores when None.
    seconds
        For one cell.
    memory_mb
        What a worker may allocate beyond the libraries; no limit when None.
    """

    workers: int | None = None
    seconds: float = TIME_LIMIT_SECONDS
    memory_mb: int | None = None

    def __post_init__(self) -> None:
        """Refuse limits that are none."""
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"got a time limit of {self.seconds} s, expected a finite number above 0")

    @property
    def processes(self) -> int:
        """How many workers there are."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.workers or cores


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
            work = _Work(store, run_id, Path(folder), limits, tuning, on_progress, done_before, total)
            work.run(missing)
            before += len(plan.cells)
            reports.append(RunReport(run_id, len(plan.cells), len(missing), work.failed, time.monotonic() - started))
            if cost and not plan.protocol.tunes:
                _measure(store, plan.cells, Path(folder), limits)
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
        protocol, cells, seed, seeds, _reference(reference, heads, datasets), canary, list(dict.fromkeys(signs))
    )


def _reference(wanted: str | None, heads: Sequence[HeadSpec], datasets: Sequence[EmbeddingDataset]) -> str:
    """``backbone/head`` of the reference row: as named, else logistic regression, else the first head that learns."""
    backbones, names = [dataset.backbone for dataset in datasets], [head.name for head in heads]
    backbone, _, head = (wanted or "").rpartition("/")
    if wanted and (head not in names or backbone not in ("", *backbones)):
        raise InputError(
            f"got {wanted!r} as the reference, expected HEAD or BACKBONE/HEAD of this run "
            f"(heads: {', '.join(names)}; backbones: {', '.join(backbones)})"
        )
    if not head:
        head = REFERENCE if REFERENCE in names else next((name for name in names if name != "majority"), names[0])
    return f"{backbone or backbones[0]}/{head}"


class _Work:
    """The missing cells of one run: computed, derived, stored in groups every few seconds and at the end."""

    def __init__(
        self,
        store: FeatureStore,
        run_id: str,
        folder: Path,
        limits: Limits,
        tuning: Tuning | None,
        on_progress: Progress | None,
        done: int,
        total: int,
    ) -> None:
        self.store = store
        self.run_id = run_id
        self.folder = folder
        self.limits = limits
        self.tuning = tuning
        self.on_progress = on_progress
        self.done = done
        self.total = total
        self.failed = 0
        self._waiting: list[results.Finished] = []
        self._flushed = time.monotonic()

    def run(self, missing: Sequence[Cell]) -> None:
        """Compute and store; what was finished is stored also when interrupted."""
        try:
            with closing(self._outcomes(missing)) as outcomes:
                for cell, outcome in outcomes:
                    self._waiting.append((cell, outcome))
                    self.failed += outcome.status != "ok"
                    self.done += 1
                    if time.monotonic() - self._flushed > FLUSH_SECONDS:
                        self._flush(wait_seconds=1.0, last=False)
                    if self.on_progress:
                        self.on_progress(self.done, self.total)
        finally:
            self._flush(wait_seconds=LAST_FLUSH_SECONDS, last=True)

    def _flush(self, *, wait_seconds: float, last: bool) -> None:
        # Emptied first: an interrupt behind the commit must not store the same cells again.
        ready, self._waiting, self._flushed = self._waiting, [], time.monotonic()
        if not ready:
            return
        try:
            results.store_outcomes(self.store, self.run_id, ready, wait_seconds=wait_seconds)
        except StoreLocked:
            if last:
                raise
            self._waiting = ready + self._waiting  # another writer is at work: next time

    def _outcomes(self, missing: Sequence[Cell]) -> Generator[results.Finished]:
        """Outcomes as they come: those with a fit of their own, and behind its members each that is made of them."""
        keys = {cell.key for cell in missing}
        derived = [cell for cell in missing if cell.members]
        known = results.load_outcomes(
            self.store,
            list({m.key: m for cell in derived for m in cell.members if m.key not in keys}.values()),
        )
        waits_for: dict[str, list[Cell]] = defaultdict(list)
        for cell in derived:
            for member in cell.members:
                waits_for[member.key].append(cell)

        def ready(cells: Sequence[Cell]) -> Iterator[results.Finished]:
            for cell in cells:
                if cell.key not in known and all(member.key in known for member in cell.members):
                    known[cell.key] = outcome = derive(cell, [known[member.key] for member in cell.members])
                    yield cell, outcome

        yield from ready(derived)
        images = self.tuning.dataset if self.tuning else None
        direct = [cell for cell in missing if not cell.members and cell.dataset is not images]
        tasks = [as_task(cell, self.folder) for cell in direct]
        working = computed(
            run_cell,
            tasks,
            workers=self.limits.processes,
            failed=lambda sentence: Outcome("failed", sentence),
            time_limit=self.limits.seconds,
            memory_limit_mb=self.limits.memory_mb,
        )
        with closing(working):  # an interrupt stops the workers first
            for number, outcome in working:
                cell = direct[number]
                yield cell, outcome
                if cell.key in waits_for:
                    known[cell.key] = outcome
                    yield from ready(waits_for[cell.key])
        if self.tuning:  # these use all cores themselves
            yield from fine_tuned(self.tuning, missing)


def as_task(cell: Cell, folder: Path) -> Task:
    """A cell as a worker gets it; the matrix is written to ``folder`` once and mapped there by every worker."""
    dataset, split = cell.dataset, cell.split
    path = folder / f"{dataset.data_hash}.npy"
    if not path.exists():
        np.save(path, dataset.X)
    return Task(
        cell.head, path, dataset.y, dataset.groups, split.train, split.test, len(dataset.classes), cell.seed, cell.tune
    )


def _measure(store: FeatureStore, cells: Sequence[Cell], folder: Path, limits: Limits) -> None:
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
    found = [(wanted[number], cost) for number, cost in measured]
    if found:
        results.store_costs(store, found)
