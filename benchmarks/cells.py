"""One cell of the bench, head × dataset × split: its key, and the work itself, which runs in a worker process."""

import hashlib
import json
import time
import warnings
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.dataset import EmbeddingDataset
from benchmarks.heads.base import HeadSpec
from benchmarks.protocols import Split

# Raise it when a change of the bench changes results that are already stored.
BENCH_VERSION = 1


@dataclass(frozen=True)
class Cell:
    """What to do: fit ``head`` on the training rows, predict the test rows."""

    head: HeadSpec
    dataset: EmbeddingDataset
    split: Split
    seed: int

    @cached_property
    def key(self) -> str:
        """16 hex digits that are equal exactly when the result must be."""
        identity = {
            "bench": BENCH_VERSION,
            "head": self.head.name,
            "factory": [self.head.factory, self.head.code_hash],
            "parameters": {name: repr(value) for name, value in self.head.parameters.items()},
            # Two backbones may hold equal vectors: each has rows of its own.
            "data": [self.dataset.backbone, self.dataset.revision, self.dataset.data_hash],
            "split": self.split.hash(self.dataset.ids),
            "place": [self.split.protocol, self.split.repeat, self.split.fold],
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Outcome:
    """What came of a cell: ``proba`` ``(n_test, n_classes)`` float32, or the reason that there is none."""

    status: str
    message: str = ""
    proba: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    fit_seconds: float = float("nan")
    predict_ms: float = float("nan")


@lru_cache(maxsize=4)
def _matrix(path: Path) -> NDArray[np.float32]:
    """The matrix of one dataset, mapped once in each worker."""
    return np.load(path, mmap_mode="r")


def run_cell(head: HeadSpec, matrix: Path, y: NDArray[np.int64], split: Split, *, n_classes: int, seed: int) -> Outcome:
    """Fit and predict on one thread; whatever a head does wrong becomes a row that says so.

    Parameters
    ----------
    matrix
        A ``.npy`` of ``(n, d)`` float32.
    """
    from threadpoolctl import threadpool_limits

    _one_torch_thread()
    X = _matrix(matrix)
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = head.build(seed=seed)  # imports the library: no part of the fit
            started = time.perf_counter()
            model.fit(np.asarray(X[split.train]), y[split.train])
            fitted = time.perf_counter()
            raw = np.asarray(model.predict_proba(np.asarray(X[split.test])))
            ended = time.perf_counter()
            proba = _on_all_classes(raw, model.classes_, n_classes, len(split.test))
        except Exception as error:  # a head is anybody's code: it fails alone
            return Outcome(
                "failed", f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            )
    notes = sorted({str(warning.message).splitlines()[0][:200] for warning in caught if _worth_telling(warning)})
    return Outcome("ok", "; ".join(notes[:3]), proba, fitted - started, (ended - fitted) * 1000 / len(split.test))


def _one_torch_thread() -> None:
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _worth_telling(warning: Any) -> bool:
    """Notes on how well the fit went; not those on how libraries are to be called tomorrow."""
    return not issubclass(warning.category, (FutureWarning, DeprecationWarning, PendingDeprecationWarning))


def _on_all_classes(raw: Any, classes: Any, n_classes: int, n_rows: int) -> NDArray[np.float32]:
    """Probabilities over all classes; one that the training part lacked gets zero.

    Raises
    ------
    ValueError
        When the head's answer is no set of probabilities.
    """
    if raw.shape != (n_rows, len(classes)):
        raise ValueError(f"predict_proba gave {raw.shape}, expected ({n_rows}, {len(classes)})")
    if not np.isfinite(raw).all() or raw.min() < -1e-6 or np.abs(raw.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("predict_proba gave rows that are no probabilities")
    proba = np.zeros((n_rows, n_classes), np.float32)
    proba[:, np.asarray(classes, np.int64)] = raw
    return proba
