"""Contenders that take turns: each round runs every one of them once, so that what disturbs one disturbs all."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORKER = Path(__file__).resolve().parent / "worker.py"
# Libraries that would look for a network, or print progress, in a process that is being timed.
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TOKENIZERS_PARALLELISM": "false",
}
# Set on some machines for the sake of old BLAS builds; they slow a current one, ours as well as the others'.
SLOWING = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


@dataclass(frozen=True)
class Contender:
    """Who does the work.

    Parameters
    ----------
    function
        ``module.py:function`` in the folder ``contenders``; see `worker`.
    python
        The interpreter: the product's, or that of the rivals; None when it could not be installed.
    fresh
        A new process each time; only what follows its imports is timed.
    evict
        Files and folders that are dropped from the system's page cache before each run.
    repeats
        At most so many runs, for what takes minutes; all rounds when None.
    touch_mb
        Memory that its process takes, fills and gives back before the clock starts. On a virtual machine whose host
        takes unused memory away, the first to want it back would pay for that: a second for 800 MB.
    times
        Runs in succession, of which the median counts: what takes milliseconds begins slowly after a rest.
    """

    name: str
    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    python: Path | None = Path(sys.executable)
    fresh: bool = False
    evict: tuple[Path, ...] = ()
    repeats: int | None = None
    touch_mb: int = 0
    times: int = 1


@dataclass
class Runs:
    """What was measured of one contender, one value a round; ``error`` when it could not run.

    ``memory_mb`` is by how much its process grew, ``peak_mb`` the most that the whole process took; ``cpu_seconds`` are
    those of all its threads.
    """

    seconds: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)
    answer: Any = None
    error: str = ""
    peak_mb: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)


class Failed(Exception):
    """A contender could not run; the words are those of its process."""


class Process:
    """A worker that waits for its turn."""

    def __init__(self, contender: Contender) -> None:
        if contender.python is None:
            raise Failed("not installed")
        options = json.dumps(dict(contender.options), default=str)
        self._process = subprocess.Popen(
            [
                str(contender.python),
                str(WORKER),
                contender.function,
                options,
                str(contender.touch_mb),
                str(contender.times),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("PERF_DEBUG") else subprocess.DEVNULL,
            text=True,
            env={name: value for name, value in os.environ.items() if name not in SLOWING} | QUIET,
        )
        self._read()

    def run(self) -> dict[str, Any]:
        """One measurement."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(f"its process ended with {self._process.wait()}: PERF_DEBUG=1 shows what it said")
        record = json.loads(line)
        if "error" in record:
            raise Failed(record["error"])
        return record


def once(function: str, options: Mapping[str, Any], *, python: Path | None = Path(sys.executable)) -> Any:
    """Run what only prepares data, in a process of its own, and return its answer."""
    process = Process(Contender("preparation", function, options, python))
    try:
        return process.run()["answer"]
    finally:
        process.close()


def race(contenders: Sequence[Contender], repeats: int) -> dict[str, Runs]:
    """``repeats`` rounds; the one that begins a round is another each time. One that fails leaves the race."""
    runs = {contender.name: Runs() for contender in contenders}
    waiting: dict[str, Process] = {}
    try:
        for turn in range(repeats):
            for place in range(len(contenders)):
                contender = contenders[(place + turn) % len(contenders)]
                if not runs[contender.name].error and turn < (contender.repeats or repeats):
                    _turn(contender, runs[contender.name], waiting)
    finally:
        for process in waiting.values():
            process.close()
    return runs


def _turn(contender: Contender, runs: Runs, waiting: dict[str, Process]) -> None:
    for path in contender.evict:
        evict(path)
    try:
        process = waiting.pop(contender.name, None) or Process(contender)
        try:
            result = process.run()
        except Failed:
            process.close()
            raise
        if contender.fresh:
            process.close()
        else:
            waiting[contender.name] = process
    except Failed as error:
        runs.error = str(error)
        return
    runs.seconds.append(result["seconds"])
    runs.memory_mb.append(result["memory_mb"])
    runs.peak_mb.append(result["peak_mb"])
    runs.cpu_seconds.append(result["cpu_seconds"])
    runs.answer = result["answer"]


def evict(path: Path) -> None:
    """Drop a file, or all files below a folder, from the page cache, as far as the system allows."""
    for file in [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]:
        handle = os.open(file, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
