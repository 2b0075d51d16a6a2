"""Computes cells on a node of a cluster: each process of Ray has a worker process with its limits beneath it."""

import pickle
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan.cells import Outcome, head_hash
from benchmarks.run.cell import run_cell
from benchmarks.run.message import DONE
from benchmarks.run.node_folder import NodeFolder, array_path, claimed
from benchmarks.run.pool import KeptWorker
from benchmarks.run.sent import Answer, Kit, SentCell, SentDataset, processor, refuse_other


@dataclass(frozen=True, eq=False)
class _Bench:
    """What a process keeps from cell to cell."""

    folder: NodeFolder
    worker: KeptWorker


@dataclass(frozen=True)
class _Work:
    """A cell as the worker process gets it: ``source`` is the path of its head's file, None for a module."""

    cell: SentCell
    folder: Path
    data: str
    source: str | None


# By the run: one, since a process of Ray works for one connection, whose runs come one after another.
_benches: dict[str, _Bench] = {}


def compute(kit: Kit, data: SentDataset, cell: SentCell) -> Answer:
    """Compute one cell on this node.

    Raises
    ------
    ClusterError
        When the node has other software, or can't keep the matrix.
    """
    bench = _bench(kit)
    bench.folder.keep(data)
    source = None if cell.source is None else bench.folder.keep_source(cell.source)
    work = _Work(replace(cell, source=None), bench.folder.path, data.name, source)
    kind, content = bench.worker.run(run_sent, work, alone=cell.alone, largest=cell.largest)
    done = kind == DONE
    return Answer(content if done else None, "" if done else content, processor())


def _bench(kit: Kit) -> _Bench:
    if kit.run not in _benches:
        refuse_other(kit.software)
        while _benches:
            _benches.popitem()[1].worker.close()
        kept = KeptWorker(time_limit=kit.seconds, memory_limit_mb=kit.memory_mb)
        _benches[kit.run] = _Bench(claimed(kit.run), kept)
    return _benches[kit.run]


def run_sent(work: _Work) -> Outcome:
    """`run_cell` of a cell that was sent: its head's file and its dataset are files of this node."""
    task: Any = pickle.loads(work.cell.task)
    if work.source is not None:
        task = replace(task, head=replace(task.head, factory=f"{work.source}:{task.head.factory.rpartition(':')[2]}"))
    if head_hash(task.head) != work.cell.head:
        return Outcome("failed", "its code, or a file that it names, is another on the node")
    paths = {name: array_path(work.folder, work.data, name) for name in ("X", "y", "groups")}
    y, groups = (np.load(paths[name], allow_pickle=False) for name in ("y", "groups"))
    return run_cell(replace(task, matrix=paths["X"], y=y, groups=groups))
