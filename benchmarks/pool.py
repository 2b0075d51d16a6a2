"""Tasks in processes of their own, with limits: one that crashes, hangs or eats memory fails alone."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, TimeoutError, as_completed
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, TypeVar

TIME_LIMIT_SECONDS = 600.0
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# What nearly every task needs; imported once, before workers are forked from the server.
_PRELOAD = [
    "sklearn.pipeline",
    "sklearn.svm",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "scipy.stats",
    "threadpoolctl",
]

Given = TypeVar("Given")
Result = TypeVar("Result")


def computed(
    function: Callable[[Given], Result],
    tasks: Sequence[Given],
    *,
    workers: int,
    failed: Callable[[str], Result],
    time_limit: float = TIME_LIMIT_SECONDS,
    memory_limit_mb: int | None = None,
    fresh: bool = False,
) -> Generator[tuple[int, Result]]:
    """Number and result of each task, in the order in which they end.

    Parameters
    ----------
    function
        Importable by name; called with one task, on one thread.
    failed
        Makes a result of a sentence, for a task that ran too long or whose process died.
    time_limit
        Seconds a task may take.
    memory_limit_mb
        What a worker may allocate beyond what it holds at its start; Linux only.
    fresh
        Run each task in a process that has run no other: one that has keeps memory for the next.
    """
    if not tasks:
        return
    from pebble import ProcessExpired, ProcessPool

    with (
        _one_thread(),
        ProcessPool(
            max_workers=min(workers, len(tasks)),
            max_tasks=1 if fresh else 0,
            context=_context(),
            initializer=_start_worker,
            initargs=(memory_limit_mb,),
        ) as pool,
    ):
        try:
            with interrupted_later():
                futures = {
                    pool.schedule(function, args=(task,), timeout=time_limit): number
                    for number, task in enumerate(tasks)
                }
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except TimeoutError:
                    yield futures[future], failed(f"stopped: it ran longer than {time_limit:g} s")
                except MemoryError:
                    yield futures[future], failed(f"stopped: it needed more than {memory_limit_mb} MB")
                except ProcessExpired as death:
                    yield futures[future], failed(f"its process died ({_cause(death.exitcode)})")
        finally:
            with contextlib.suppress(CancelledError):
                pool.stop()
                pool.join()


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"signal {signal.Signals(-exitcode).name}"
    return f"exit code {exitcode}"


def _context() -> Any:
    """Forked from a server that has the libraries loaded and runs no threads; elsewhere started anew."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    with _handled(signal.SIG_IGN):  # the server inherits it; else Ctrl-C while it imports is a traceback
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def interrupted_later() -> Iterator[None]:
    """Ctrl-C counts at the end: a worker that is just being started can't be stopped, and would outlive the run."""
    came: list[int] = []
    with _handled(lambda number, _: came.append(number)):
        yield
    if came:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def _handled(handler: Any) -> Iterator[None]:
    """Another handler of Ctrl-C; only the main thread can set one, and only it is interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Libraries read these when they are loaded, so they are set before any worker is."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start_worker(memory_limit_mb: int | None) -> None:
    """Ctrl-C reaches every process of the terminal; a worker would answer with a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_runner, daemon=True).start()
    if memory_limit_mb is not None and sys.platform == "linux":
        import resource

        status = Path("/proc/self/status").read_text().splitlines()
        held = int(next(line.split()[1] for line in status if line.startswith("VmData"))) * 1024
        limit = held + memory_limit_mb * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _end_with_runner() -> None:
    """Else a head that hangs would go on when the runner was killed: nobody is left to keep its time limit."""
    runner = multiprocessing.parent_process()
    if runner is not None:
        runner.join()
        os._exit(1)
