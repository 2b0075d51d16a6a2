"""The records of a run: cell (head × dataset × split), task of a worker, outcome, cost, and the plan of all cells."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.base import HeadSpec
from benchmarks.heads.groups import group_numbers
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.protocols import Protocol, Split
from featurestore import visible
from featurestore.errors import reason
from featurestore.files import file_hash

# Raise it when a change of the bench changes results that are already stored.
# 3: heads know which rows are copies and hold them out together; the best of many heads is chosen by log loss.
BENCH_VERSION = 3


# Longest message of a head, in characters.
LONGEST_MESSAGE = 200


@dataclass(frozen=True)
class Cell:
    """What to do: fit ``head`` on the training rows, predict the test rows.

    Parameters
    ----------
    tune
        Choose the head's settings on inner folds first.
    members
        Cells of the same rows whose results this one is made of; empty for one with a fit of its own.
    failure
        Why it can't be computed, where that is known before; else empty.
    """

    head: HeadSpec
    dataset: EmbeddingDataset
    split: Split
    seed: int
    tune: bool = False
    members: tuple["Cell", ...] = ()
    failure: str = ""

    @cached_property
    def model_key(self) -> str:
        """16 hex digits of head and data, whatever the split."""
        return model_key(self.head, self.dataset)

    @cached_property
    def key(self) -> str:
        """16 hex digits that are equal exactly when the result must be."""
        return _digest(
            {
                "model": self.model_key,
                "split": self.split.hash(self.dataset.ids),
                "place": [self.split.protocol, self.split.repeat, self.split.fold, self.split.size],
                "seed": self.seed,
                "search": {name: repr(value) for name, value in self.head.search.items()} if self.tune else None,
                "members": [member.key for member in self.members],
            }
        )


def model_key(head: HeadSpec, dataset: EmbeddingDataset) -> str:
    """16 hex digits of a head's version and the data it learns from."""
    return _digest(
        {
            "bench": BENCH_VERSION,
            "head": head.name,
            "factory": [head.factory.rpartition(":")[2], head.code_hash],
            "parameters": {name: _meaning(value) for name, value in head.parameters.items()},
            # Two backbones may hold equal vectors: each has rows of its own.
            "data": [dataset.backbone, dataset.revision, dataset.data_hash],
            "copies": _copies_hash(np.ascontiguousarray(dataset.groups, np.int64).tobytes()),
        }
    )


def head_hash(head: HeadSpec) -> str:
    """16 hex digits of a head's code and of the files that its settings name: equal on two machines that agree."""
    files = {name: _meaning(value) for name, value in head.parameters.items() if _file_of(value)}
    return _digest([head.code_hash, files])


@lru_cache(maxsize=16)
def _copies_hash(groups: bytes) -> str | None:
    """Of which rows are copies of each other, whatever their groups are called; None where there are no copies."""
    numbers = group_numbers(np.frombuffer(groups, np.int64))
    return None if numbers is None else hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


def plain_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them; those of a user's head may be any objects, which become their text."""
    return {name: _plain(value) for name, value in settings.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    value = value.item() if isinstance(value, np.generic) else value
    whole = value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))
    return value if whole else shortened(repr(value))


def _meaning(value: Any) -> str:
    """The identity of a setting: its value, or the hash of the file's bytes where it names a file."""
    path = _file_of(value)
    return repr(value) if path is None else _file_hash(path, path.stat().st_mtime_ns)


def _file_of(value: Any) -> Path | None:
    path = Path(value).expanduser() if isinstance(value, str) and (Path(value).suffix or "/" in value) else None
    return path if path is not None and path.is_file() else None


@lru_cache(maxsize=16)
def _file_hash(path: Path, _: int) -> str:
    """Cached by path and modification time, since many cells have the same head."""
    return file_hash(path)


def _digest(identity: Any) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Task:
    """A cell as a worker gets it: small, and without the matrix.

    ``matrix`` is a ``.npy`` of ``(n, d)`` float32; ``y`` ``(n,)`` codes, or ``(n, n_classes)`` of 0 and 1.
    """

    head: HeadSpec
    matrix: Path
    y: NDArray[np.int64]
    groups: NDArray[np.int64]
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    n_classes: int
    seed: int
    tune: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of a cell: ``proba`` ``(n_test, n_classes)`` float32, or in ``message`` why there is none."""

    status: str
    message: str = ""
    proba: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    fit_seconds: float = float("nan")
    predict_ms: float = float("nan")
    chosen: str = ""
    inner_score: float = float("nan")


def named_reason(error: BaseException) -> str:
    """Name and first line of an error, short enough for a table."""
    name, said = type(error).__name__, reason(error)
    return shortened(name if said == name else f"{name}: {said}")


def shortened(text: str) -> str:
    """The start of ``text``, escaped: `LONGEST_MESSAGE` characters. Of a text that is so, the same."""
    return visible(text[:LONGEST_MESSAGE])[:LONGEST_MESSAGE]


@dataclass(frozen=True)
class Cost:
    """Measured on one thread; NaN where it can't be had.

    Parameters
    ----------
    fit_seconds
        Of one fit on the training part.
    predict_ms_p50, predict_ms_p95
        Milliseconds to predict one row alone: the median and the 95th percentile.
    memory_mb
        Peak resident memory while fitting and predicting, above what the process held before (Linux only).
    model_bytes
        Size of the fitted model as `benchmarks fit` saves it.
    depends_on_batch
        Whether a row's prediction changes with the rows beside it: then test rows teach.
    """

    message: str = ""
    fit_seconds: float = float("nan")
    predict_ms_p50: float = float("nan")
    predict_ms_p95: float = float("nan")
    memory_mb: float = float("nan")
    model_bytes: float = float("nan")
    depends_on_batch: bool = False


@dataclass(frozen=True)
class Plan:
    """All that a run is going to do, known before the first cell starts.

    Parameters
    ----------
    reference
        ``backbone/head`` of the row that the others are tested against.
    reference_named
        Whether somebody asked for that row.
    canary
        Whether the labels are shuffled.
    warnings
        Signs of leaks, a sentence each.
    """

    protocol: Protocol
    cells: Sequence[Cell]
    seed: int
    seeds: int
    reference: str
    reference_named: bool
    canary: bool
    warnings: Sequence[str]

    @property
    def folds(self) -> int:
        """How many test parts a repeat has: those of ``across`` are the domains."""
        if self.protocol.name != "across":
            return self.protocol.folds
        return len({cell.split.fold for cell in self.cells if cell.split.size == 1.0})

    @property
    def rows(self) -> NDArray[np.int64]:
        """The rows that are learned from or tested on, ascending; a given split may leave some out."""
        splits = {id(cell.split): cell.split for cell in self.cells}.values()
        return np.unique(np.concatenate([part for split in splits for part in (split.train, split.test)]))
