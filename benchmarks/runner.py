"""The only place where heads, backbones and splits meet: plans cells, runs the missing ones, stores them."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import results
from benchmarks.cells import Cell, Outcome, run_cell
from benchmarks.dataset import EmbeddingDataset, aligned, from_store
from benchmarks.heads.base import HeadSpec
from benchmarks.protocols import Protocol
from featurestore import FeatureStore
from featurestore.errors import InputError
from featurestore.progress import Progress

# Finished cells wait at most this long before they are stored.
FLUSH_SECONDS = 5.0


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
    heads: Sequence[HeadSpec],
    protocols: Sequence[Protocol],
    backbones: Sequence[str] = (),
    view: str = "labeled",
    label: str = "Genre1",
    seed: int = 0,
    workers: int | None = None,
    on_progress: Progress | None = None,
) -> list[RunReport]:
    """Compare heads over backbones, one run a protocol; cells that are stored already are not computed again.

    Parameters
    ----------
    backbones
        Names in the store; all of them when empty.
    workers
        Processes, one thread each; the number of cores when None.

    Raises
    ------
    InputError
        When the store holds no embeddings, or view, label or protocol don't fit.
    """
    names = list(backbones) or [info.name for info in store.backbones()]
    if not names:
        raise InputError(f"the store {str(store.path)!r} holds no embeddings: run `featurestore embed` first")
    datasets = aligned([from_store(store, name, view=view, label=label) for name in dict.fromkeys(names)])
    plans = [(protocol, _plan(protocol, heads, datasets, seed)) for protocol in protocols]
    total, before, reports = sum(len(cells) for _, cells in plans), 0, []
    for protocol, cells in plans:
        started = time.monotonic()
        done = results.stored_cells(store, [cell.key for cell in cells])
        missing = [cell for cell in cells if cell.key not in done]
        run_id = results.start_run(store, protocol, cells, seed=seed)
        failed = _run_missing(store, run_id, missing, workers, on_progress, before + len(cells) - len(missing), total)
        before += len(cells)
        reports.append(RunReport(run_id, len(cells), len(missing), failed, time.monotonic() - started))
    return reports


def _plan(protocol: Protocol, heads: Sequence[HeadSpec], datasets: Sequence[EmbeddingDataset], seed: int) -> list[Cell]:
    """All cells; the rows are the same in every dataset, so the splits are too."""
    splits = list(protocol.splits(datasets[0]))
    return [Cell(head, dataset, split, seed) for dataset in datasets for head in heads for split in splits]


def _run_missing(
    store: FeatureStore,
    run_id: str,
    missing: Sequence[Cell],
    workers: int | None,
    on_progress: Progress | None,
    done: int,
    total: int,
) -> int:
    """Run cells, store them in groups every few seconds and at the end, also when interrupted; returns the failures."""
    waiting: list[tuple[Cell, Outcome]] = []
    failed, flushed = 0, time.monotonic()
    try:
        for cell, outcome in _computed(missing, workers):
            waiting.append((cell, outcome))
            failed += outcome.status != "ok"
            done += 1
            if time.monotonic() - flushed > FLUSH_SECONDS:
                # Emptied first: an interrupt behind the commit must not store the same cells again.
                ready, waiting, flushed = waiting, [], time.monotonic()
                results.store_outcomes(store, run_id, ready)
            if on_progress:
                on_progress(done, total)
    finally:
        if waiting:
            results.store_outcomes(store, run_id, waiting)
    return failed


def _computed(cells: Sequence[Cell], workers: int | None) -> Iterator[tuple[Cell, Outcome]]:
    """Outcomes in the order in which cells end; each worker process maps the matrices, none is sent twice."""
    if not cells:
        return
    import joblib

    count = workers or os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        paths: dict[str, Path] = {}
        for cell in cells:
            if cell.dataset.data_hash not in paths:
                paths[cell.dataset.data_hash] = path = Path(folder, f"{cell.dataset.data_hash}.npy")
                np.save(path, cell.dataset.X)
        jobs = (
            joblib.delayed(_numbered)(
                number,
                cell.head,
                paths[cell.dataset.data_hash],
                cell.dataset.y,
                cell.split,
                n_classes=len(cell.dataset.classes),
                seed=cell.seed,
            )
            for number, cell in enumerate(cells)
        )
        with joblib.parallel_config(
            backend="loky", n_jobs=count, inner_max_num_threads=1, initializer=_leave_interrupts_to_the_parent
        ):
            for number, outcome in joblib.Parallel(return_as="generator_unordered")(jobs):
                yield cells[number], outcome


def _leave_interrupts_to_the_parent() -> None:
    """Ctrl-C reaches every process of the terminal; a worker would answer with a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _numbered(number: int, *arguments: Any, **options: Any) -> tuple[int, Outcome]:
    return number, run_cell(*arguments, **options)
