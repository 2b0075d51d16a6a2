"""What travels between a run and the nodes of a cluster, and how a node is compared with the machine that sends."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.write import library_versions
from featurestore.errors import ClusterError

BENCH = "this bench"
# By these the libraries choose among their kernels, whose results differ in the last bits.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile")


@dataclass(frozen=True)
class Kit:
    """What a node needs for any cell of one run.

    Parameters
    ----------
    run
        32 random hex digits, which name the run's folder on each node.
    software
        Of the machine that sends, see `software`.
    seconds, memory_mb
        The limits of one cell, see `Limits`.
    """

    run: str
    software: Mapping[str, str]
    seconds: float
    memory_mb: int | None


@dataclass(frozen=True)
class SentDataset:
    """The arrays of one dataset, see `EmbeddingDataset`; ``name`` is its `data_hash`."""

    name: str
    X: NDArray[np.float32]
    y: NDArray[np.int64]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class SentCell:
    """One cell.

    Parameters
    ----------
    task
        A pickled `Task` without arrays of the dataset. Only the worker process with its limits unpickles it.
    head
        The `head_hash` of the task's head.
    source
        The Python file that makes the head; None for a head of an installed module.
    alone
        Whether it runs in a process that runs no other cell.
    largest
        Bytes of the largest message with its outcome.
    """

    task: bytes
    head: str
    source: bytes | None
    alone: bool
    largest: int


@dataclass(frozen=True)
class Answer:
    """What came of a cell: its outcome as it was sent, see `cell.read_outcome`, or in ``failure`` why there is none.

    ``processor`` is that of the node.
    """

    outcome: Any
    failure: str
    processor: str


@lru_cache(maxsize=1)
def software() -> dict[str, str]:
    """The version of each library that decides a result; of the bench itself a hash of its source files."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return {**library_versions(), BENCH: digest.hexdigest()[:16]}


def refuse_other(expected: Mapping[str, str]) -> None:
    """Refuse to compute with other software than the machine that sends has.

    Raises
    ------
    ClusterError
        With the first differences.
    """
    mine = software()
    differ = [name for name in expected if mine.get(name) != expected[name]]
    if differ:
        said = ", ".join(f"{name} {mine.get(name)} instead of {expected[name]}" for name in differ[:3])
        raise ClusterError(
            f"the node {platform.node()!r} has {said}: results would differ, so install the same versions as on the "
            "machine that runs the command"
        )


@lru_cache(maxsize=1)
def processor() -> str:
    """The kind of processor as far as it decides the last bits of results: machine, kernels of BLAS, instructions."""
    import scipy.linalg  # noqa: F401  # loads the BLAS that is looked at
    from threadpoolctl import threadpool_info

    kernels = {str(info["architecture"]) for info in threadpool_info() if info.get("architecture")}
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:  # another system than Linux
        lines = []
    flags = next((line.split() for line in lines if line.startswith(("flags", "Features"))), [])
    return " ".join([platform.machine(), *sorted(kernels), *(flag for flag in _FLAGS if flag in flags)])
