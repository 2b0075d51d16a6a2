"""The missing cells of one run: computed in parallel, derived from each other, stored as they end."""

import os
import time
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.finetune.bench import Tuning
from benchmarks.finetune.bench import computed as fine_tuned
from benchmarks.plan.cells import Cell, Outcome, Task
from benchmarks.results import write as results
from benchmarks.run.cell import derive, run_cell
from benchmarks.run.pool import TIME_LIMIT_SECONDS, computed
from featurestore import FeatureStore
from featurestore.errors import InputError, StoreLocked
from featurestore.progress import Progress

# Finished cells wait at most this long before they are stored.
FLUSH_SECONDS = 5.0
# How long the last ones wait for another writer.
LAST_FLUSH_SECONDS = 600.0


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


class Work:
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
