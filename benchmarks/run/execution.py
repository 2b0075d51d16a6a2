"""Carries out a run: its missing cells are computed in parallel or derived from others, and stored as they end."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.finetune.cells import FineTuning
from benchmarks.finetune.cells import computed as fine_tuned
from benchmarks.plan.cells import Cell, Outcome, Task, shortened
from benchmarks.results import write as results
from benchmarks.results.pending import Pending
from benchmarks.run.cell import derive, largest_outcome, read_outcome, run_cell
from benchmarks.run.cluster import ClusterBench
from benchmarks.run.limits import Limits
from benchmarks.run.pool import computed
from benchmarks.run.process import interrupted_later
from benchmarks.run.repeats import Repeats
from featurestore import FeatureStore
from featurestore.errors import StoreLocked
from featurestore.events import arguments
from featurestore.progress import Progress

# Pipelines collect what it says; without a handler of theirs, nothing is printed.
log = logging.getLogger("benchmarks")
log.addHandler(logging.NullHandler())
# Finished cells are stored every so many seconds,
FLUSH_SECONDS = 5.0
# and kept in files where another process writes to the store for longer than this.
FLUSH_WAIT_SECONDS = 1.0
# How long the last ones wait for that process.
LAST_FLUSH_SECONDS = 600.0
# Called with the id of a run, how many of its repeats are whole and stored, and how many it has.
OnRepeat = Callable[[str, int, int], None]


class Execution:
    """The missing cells of one run: computed, derived, stored in groups every few seconds and at the end."""

    def __init__(
        self,
        store: FeatureStore,
        run_id: str,
        folder: Path,
        limits: Limits,
        pending: Pending,
        *,
        cluster: ClusterBench | None,
        tuning: FineTuning | None,
        on_progress: Progress | None,
        on_repeat: OnRepeat | None,
        repeats: int,
        done: int,
        total: int,
    ) -> None:
        self.store = store
        self.run_id = run_id
        self.folder = folder
        self.limits = limits
        self.pending = pending
        self.cluster = cluster
        self.tuning = tuning
        self.on_progress = on_progress
        self.on_repeat = on_repeat
        self.repeats = repeats
        self.done = done
        self.total = total
        self.failed = 0
        self._finished: list[results.Finished] = []
        self._flushed = time.monotonic()

    def run(self, missing: Sequence[Cell]) -> None:
        """Compute and store; what is finished is stored also after an interrupt.

        Raises
        ------
        StoreLocked
            When another process writes to the store until long after the last cell; the results are kept in files.
        """
        repeats = Repeats(missing, self.repeats)
        try:
            with closing(self._outcomes(missing)) as outcomes:
                for cell, outcome in outcomes:
                    self._finished.append((cell, outcome))
                    self._count(cell, outcome)
                    self.done += 1
                    was_due = repeats.due
                    repeats.tried(cell)
                    if time.monotonic() - self._flushed > FLUSH_SECONDS or (repeats.due and not was_due):
                        self._flush()
                        self._look(repeats)
                    if self.on_progress:
                        self.on_progress(self.done, self.total)
        except BaseException:  # an interrupt, above all: it must not wait for another writer
            self._flush()
            raise
        self._flush()
        self.pending.store_all(wait_seconds=LAST_FLUSH_SECONDS)

    def _count(self, cell: Cell, outcome: Outcome) -> None:
        """Count and log a failed cell."""
        if outcome.status != "ok":
            self.failed += 1
            facts = {
                "run": self.run_id,
                "head": cell.head.name,
                "backbone": cell.dataset.backbone,
                "repeat": cell.split.repeat,
                "fold": cell.split.fold,
                "reason": outcome.message,
            }
            log.warning("%(head)s over %(backbone)s failed: %(reason)s", arguments("cell failed", facts))

    def _look(self, repeats: Repeats) -> None:
        """Have the table shown where that is due; not before its results are stored."""
        if self.on_repeat and repeats.due and not len(self.pending):
            self.on_repeat(self.run_id, repeats.shown(), self.repeats)

    def _flush(self) -> None:
        """Store what is finished, or keep it in files for the next time."""
        with interrupted_later():  # else the same cells could be stored twice, or not at all
            if self._finished:
                self.pending.add(results.outcome_tables(self.run_id, self._finished))
                self._finished = []
            with suppress(StoreLocked):
                self.pending.store_all(wait_seconds=FLUSH_WAIT_SECONDS)
            self._flushed = time.monotonic()

    def _outcomes(self, missing: Sequence[Cell]) -> Generator[results.Finished]:
        """Outcomes as they are computed; a cell that is derived from members follows the last of them."""
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
        for cells in self._parts(missing):
            with closing(self._computed(cells)) as outcomes:  # an interrupt stops the workers first
                for cell, outcome in outcomes:
                    yield cell, outcome
                    if cell.key in waits_for:
                        known[cell.key] = outcome
                        yield from ready(waits_for[cell.key])

    def _parts(self, missing: Sequence[Cell]) -> list[Sequence[Cell]]:
        """What is computed before anything else starts: with fine-tuning, which uses all cores, a repeat; else all."""
        if not self.tuning:
            return [missing]
        return [list(cells) for _, cells in groupby(missing, key=lambda cell: cell.split.repeat)]

    def _computed(self, missing: Sequence[Cell]) -> Generator[results.Finished]:
        """Outcomes of those of ``missing`` that have a fit of their own, as they come."""
        yield from ((cell, Outcome("failed", shortened(cell.failure))) for cell in missing if cell.failure)
        images = self.tuning.dataset if self.tuning else None
        own = [cell for cell in missing if not cell.members and not cell.failure]
        direct = [cell for cell in own if cell.dataset is not images]
        with closing(self.cluster.outcomes(direct) if self.cluster else self._here(direct)) as working:
            for number, outcome in working:
                yield direct[number], outcome
        if self.tuning:
            yield from fine_tuned(self.tuning, missing)

    def _here(self, cells: Sequence[Cell]) -> Generator[tuple[int, Outcome]]:
        """The number and outcome of each cell, by worker processes of this machine."""
        return computed(
            run_cell,
            [as_task(cell, self.folder) for cell in cells],
            workers=self.limits.processes,
            failed=lambda sentence: Outcome("failed", sentence),
            read=_sent_outcome,
            largest=max(
                (largest_outcome(len(cell.split.test), len(cell.dataset.classes)) for cell in cells), default=0
            ),
            alone=lambda task: not task.head.is_built_in,
            folder=self.folder,
            time_limit=self.limits.seconds,
            memory_limit_mb=self.limits.memory_mb,
        )


def _sent_outcome(task: Task, content: Any) -> Outcome:
    return read_outcome(content, n_rows=len(task.test), n_classes=task.n_classes, several=task.y.ndim == 2)


def as_task(cell: Cell, folder: Path) -> Task:
    """A cell as a worker gets it; the matrix is written to ``folder`` once and mapped there by every worker."""
    dataset, split = cell.dataset, cell.split
    path = folder / f"{dataset.data_hash}.npy"
    if not path.exists():
        np.save(path, dataset.X)
    return Task(
        cell.head, path, dataset.y, dataset.groups, split.train, split.test, len(dataset.classes), cell.seed, cell.tune
    )
