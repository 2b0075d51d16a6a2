"""Computes one cell: fits and predicts in a worker process, or derives it from the outcomes of its members."""

import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.base import Classifier
from benchmarks.heads.groups import fit_with_groups
from benchmarks.heads.probabilities import are_probabilities, on_all_classes
from benchmarks.heads.tuning import choose
from benchmarks.plan.cells import LONGEST_MESSAGE, Cell, Outcome, Task, named_reason, shortened
from benchmarks.run.message import record_of
from featurestore import visible
from featurestore.errors import reason

# How many warnings of a fit are kept.
NOTES = 3
# Characters of the settings that were chosen; bytes of a message besides its probabilities.
LONGEST_CHOSEN, LONGEST_REST = 4000, 1 << 20


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
            outcome = _fit_and_predict(replace(task, head=task.head.resolved()) if task.tune else task)
        except MemoryError:  # the worker knows the limit
            raise
        except BaseException as error:  # a head is anybody's code, in a process of its own: it fails alone
            return Outcome("failed", named_reason(error))
    told = [warning.message for warning in caught if _worth_telling(warning)]
    notes = sorted({shortened(reason(message)) for message in told if isinstance(message, Warning)})
    return replace(outcome, message="; ".join(notes[:NOTES]))


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
    text = chosen_text(settings, model)
    return Outcome("ok", "", proba, done - started, (ended - done) * 1000 / len(task.test), text, inner_score)


def chosen_text(settings: Mapping[str, Any], model: Any) -> str:
    """What was chosen for a model and what it chose itself, ``chosen_``, as a JSON object; empty where it is none.

    Raises
    ------
    ValueError
        When ``chosen_`` is something else than a few settings by name.
    """
    own = getattr(model, "chosen_", {})
    if not isinstance(own, Mapping):
        raise ValueError(f"chosen_ is {type(own).__name__}, expected settings by name")
    chosen = {**settings, **own}
    text = json.dumps(chosen, default=float, allow_nan=False) if chosen else ""
    if len(text) > LONGEST_CHOSEN:
        raise ValueError(f"chosen_ takes {len(text):,} characters, expected a few settings by name")
    return text


def largest_outcome(n_rows: int, n_classes: int) -> int:
    """Bytes of the largest message with an outcome that has so many probabilities."""
    return 4 * n_rows * n_classes + LONGEST_REST


def read_outcome(content: Any, *, n_rows: int, n_classes: int, several: bool) -> Outcome:
    """The outcome that a worker sent, checked again: a head may have changed what `run_cell` checks with.

    Parameters
    ----------
    several
        Whether a row has several labels, so that its probabilities need not add up to one.

    Raises
    ------
    ValueError
        When it is none.
    """
    outcome = record_of(Outcome, content)
    if outcome.status == "failed":
        return Outcome("failed", shortened(outcome.message))
    proba = outcome.proba
    seconds = (outcome.fit_seconds, outcome.predict_ms)
    if outcome.status != "ok" or not all(np.isfinite(one) and one >= 0 for one in seconds):
        raise ValueError("no outcome")
    if proba.shape != (n_rows, n_classes) or proba.dtype != np.float32 or not are_probabilities(proba, several=several):
        raise ValueError("no probabilities")
    if np.isinf(outcome.inner_score) or not is_chosen(outcome.chosen):
        raise ValueError("no settings")
    return replace(outcome, message=visible(outcome.message[: NOTES * (LONGEST_MESSAGE + 2)]))


def is_chosen(text: str) -> bool:
    """Whether ``text`` is what `chosen_text` makes."""
    try:
        return not text or (len(text) <= LONGEST_CHOSEN and isinstance(json.loads(text), dict))
    except (ValueError, RecursionError):
        return False


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
