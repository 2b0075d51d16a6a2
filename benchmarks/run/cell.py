"""Computes one cell: fits and predicts in a worker process, or derives it from the outcomes of its members."""

import json
import time
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.base import Classifier
from benchmarks.heads.groups import fit_with_groups
from benchmarks.heads.probabilities import on_all_classes
from benchmarks.heads.tuning import choose
from benchmarks.plan.cells import Cell, Outcome, Task, named_reason, shortened
from featurestore.errors import reason


def derive(cell: Cell, outcomes: list[Outcome]) -> Outcome:
    """The outcome of a cell from those of its members: exact, since fitting the members again would give the same."""
    failed = [f"{m.head.name}: {o.message}" for m, o in zip(cell.members, outcomes, strict=True) if o.status != "ok"]
    if failed:
        return Outcome("failed", f"a member failed: {failed[0]}")
    if cell.head.rule == "best":
        best = int(np.argmin([outcome.inner_score for outcome in outcomes]))
        settings = json.loads(outcomes[best].chosen or "{}")
        chosen = json.dumps({"head": cell.members[best].head.name, **settings})
        return Outcome(
            "ok",
            "",
            outcomes[best].proba,
            float(np.sum([outcome.fit_seconds for outcome in outcomes])),
            outcomes[best].predict_ms,
            chosen,
            outcomes[best].inner_score,
        )
    fit_seconds, predict_ms = (
        float(np.sum([getattr(one, name) for one in outcomes])) for name in ("fit_seconds", "predict_ms")
    )
    mean = np.stack([outcome.proba for outcome in outcomes]).mean(axis=0, dtype=np.float64).astype(np.float32)
    return Outcome("ok", "", mean, fit_seconds, predict_ms)


@lru_cache(maxsize=4)
def _matrix(path: Path) -> NDArray[np.float32]:
    """The matrix of one dataset, mapped once in each worker."""
    return np.load(path, mmap_mode="r")


def rows_of(task: Task, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Rows of the task's matrix in memory, ``(len(rows), d)``."""
    return np.asarray(_matrix(task.matrix)[rows])


def run_cell(task: Task) -> Outcome:
    """Fit and predict on one thread; any error of the head becomes a failed outcome with its message."""
    from threadpoolctl import threadpool_limits

    _one_torch_thread()
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            outcome = _fit_and_predict(task)
        except BaseException as error:  # a head is anybody's code, in a process of its own: it fails alone
            return Outcome("failed", named_reason(error))
    told = [warning.message for warning in caught if _worth_telling(warning)]
    notes = sorted({shortened(reason(message)) for message in told if isinstance(message, Warning)})
    return Outcome(**{**vars(outcome), "message": "; ".join(notes[:3])})


def _fit_and_predict(task: Task) -> Outcome:
    X, y = rows_of(task, task.train), task.y[task.train]
    build = task.head.function()  # imports the library: no part of the fit
    del build
    started = time.perf_counter()
    settings: dict[str, Any] = {}
    inner_score = float("nan")
    if task.tune and y.ndim == 1 and task.head.rule != "best":  # that one chooses by itself
        choice = choose(task.head, X, y, task.groups[task.train], seed=task.seed)
        settings, inner_score = dict(choice.settings), choice.inner_score
    model = fitted(task, settings)
    done = time.perf_counter()
    proba = model.predict_proba(rows_of(task, task.test))
    ended = time.perf_counter()
    if y.ndim == 1:
        answer = on_all_classes(model, proba, n_rows=len(task.test), n_classes=task.n_classes)
        proba = answer.astype(np.float32)
    else:
        proba = _as_labels(proba, task)
    chosen = {**settings, **getattr(model, "chosen_", {})}
    text = json.dumps(chosen, default=float) if chosen else ""
    return Outcome("ok", "", proba, done - started, (ended - done) * 1000 / len(task.test), text, inner_score)


def fitted(task: Task, settings: dict[str, Any] | None = None) -> Classifier:
    """The head of a task, fitted on its training rows; one model for each label in a multi-label task."""
    y = task.y[task.train]
    if y.ndim == 1:
        model = task.head.build(seed=task.seed, **(settings or {}))
    else:
        from benchmarks.heads.multilabel import OneVsRest

        model = OneVsRest(lambda: task.head.build(seed=task.seed))
    fit_with_groups(model, rows_of(task, task.train), y, task.groups[task.train])
    return model


def _one_torch_thread() -> None:
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _worth_telling(warning: Any) -> bool:
    """Whether a warning is about the fit, not about future changes of a library."""
    return not issubclass(warning.category, (FutureWarning, DeprecationWarning, PendingDeprecationWarning))


def _as_labels(raw: Any, task: Task) -> NDArray[np.float32]:
    """Probabilities of labels, which need not add up to one.

    Raises
    ------
    ValueError
        When they are no probabilities.
    """
    proba = np.asarray(raw, np.float32)
    if proba.shape != (len(task.test), task.n_classes) or not ((proba >= 0) & (proba <= 1)).all():
        raise ValueError("predict_proba gave rows that are no probabilities of labels")
    return proba
