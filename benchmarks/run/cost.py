"""What a head costs when nothing else runs: time to fit, time to predict one image, memory, size on disk."""

import contextlib
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan.cells import Cost, Task, named_reason, shortened
from benchmarks.run.cell import fitted, rows_of
from benchmarks.run.message import record_of

SINGLE_PREDICTIONS = 60
# Rows of each class in the fit that is not measured.
WARM_ROWS = 12


def measure(task: Task) -> Cost:
    """Fit once and predict some test rows one by one; an error becomes the message of the cost."""
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _measure(task)
    except MemoryError:  # the worker knows the limit
        raise
    except BaseException as error:  # a head is anybody's code, in a process of its own
        return Cost(named_reason(error))


def read_cost(task: Task, content: Any) -> Cost:
    """The cost that a worker sent; raises ValueError when it is none."""
    cost = record_of(Cost, content)
    return replace(cost, message=shortened(cost.message))


def _measure(task: Task) -> Cost:
    rows = rows_of(task, task.test)[:SINGLE_PREDICTIONS]
    _warm_up(task)
    before = _forget_peak()
    started = time.perf_counter()
    model = fitted(task)
    fit_seconds = time.perf_counter() - started
    together = np.array(model.predict_proba(rows.copy()))
    alone, took = [], []
    for row in rows:
        started = time.perf_counter()
        alone.append(np.array(model.predict_proba(row[None].copy())))
        took.append((time.perf_counter() - started) * 1000)
    return Cost(
        "",
        fit_seconds,
        float(np.percentile(took, 50)),
        float(np.percentile(took, 95)),
        _resident("VmHWM") - before,
        _size(model),
        not np.allclose(together, np.vstack(alone), atol=1e-4),
    )


def _warm_up(task: Task) -> None:
    """Fit on a few rows of each class first, so that loading libraries is not measured."""
    labels = task.y[task.train]
    codes = labels if labels.ndim == 1 else labels[:, 0]
    few = np.concatenate([np.flatnonzero(codes == code)[:WARM_ROWS] for code in np.unique(codes)])
    with contextlib.suppress(Exception):  # an own head may need more rows: then the measured fit is its first
        fitted(replace(task, train=task.train[np.sort(few)]))


def _size(model: object) -> float:
    from benchmarks.models.folder import saved_bytes
    from featurestore.errors import FeatureStoreError

    try:
        return float(saved_bytes(model))
    except FeatureStoreError:  # an own head of a type that can't be saved
        return float("nan")


def _forget_peak() -> float:
    """Reset the kernel's record of the peak, and return what is resident now, in MB."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return float("nan")
    return _resident("VmRSS")


def _resident(field: str) -> float:
    try:
        lines = Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))
