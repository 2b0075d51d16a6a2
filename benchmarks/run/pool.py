"""Tasks in processes of their own, with limits: one that crashes, hangs or eats memory fails alone."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any, TypeVar

from benchmarks.run import worker
from featurestore.errors import InputError
from featurestore.progress import Progress

TIME_LIMIT_SECONDS = 600.0
# What a worker may take to be ready for its task, which is no part of the time limit.
START_SECONDS = 120.0
# How long a worker may take to end what it left running.
END_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 3600.0
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


@dataclass
class _Worker:
    """A process with a task, its number, and when it is stopped (`time.monotonic`)."""

    process: BaseProcess
    pipe: connection.Connection
    task: int
    deadline: float = 0.0


def computed(
    function: Callable[[Given], Result],
    tasks: Sequence[Given],
    *,
    workers: int,
    failed: Callable[[str], Result],
    time_limit: float = TIME_LIMIT_SECONDS,
    memory_limit_mb: int | None = None,
    fresh: bool = False,
    one_thread: bool = True,
    on_progress: Progress | None = None,
) -> Generator[tuple[int, Result]]:
    """Number and result of each task, in the order in which they end.

    Parameters
    ----------
    function
        Importable by name; called with one task.
    failed
        Makes a result of a sentence, for a task that ran too long or whose process died.
    time_limit
        Seconds a task may take.
    memory_limit_mb
        What a worker may allocate beyond what it holds at its start; Linux only.
    fresh
        Run each task in a process that has run no other: one that has keeps memory for the next.
    one_thread
        Let libraries run on one thread; else on as many as they like, in processes that are started anew.
    on_progress
        Called with what a task gives to `worker.report`.

    Raises
    ------
    InputError
        When it is called in a worker process: a script starts a run whenever it is imported.
    """
    if worker.is_worker():
        raise InputError(
            "put what starts the run below `if __name__ == '__main__':`, since worker processes load this file too"
        )
    with _one_thread() if one_thread else contextlib.nullcontext():
        said = _messages(function, tasks, workers, time_limit, memory_limit_mb, fresh, one_thread)
        with contextlib.closing(said):  # else the workers would go on when nobody asks for more
            for number, kind, content in said:
                if kind != worker.PROGRESS:
                    yield number, content if kind == worker.DONE else failed(content)
                elif on_progress:
                    on_progress(*content)


def _messages(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    time_limit: float,
    memory_limit_mb: int | None,
    fresh: bool,
    forked: bool,
) -> Generator[tuple[int, str, Any]]:
    """What each task sends, with its number: its progress, and at last its result or why there is none."""
    waiting = deque(enumerate(tasks))
    crew: list[_Worker] = []
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                number, task = waiting.popleft()
                with interrupted_later():
                    crew.append(_started(_context(forked=forked), number, memory_limit_mb))
                _send(crew[-1], function, task, last=fresh)
            for one in _changed(crew):
                number, (kind, content) = one.task, _heard(one, time_limit)
                if kind == worker.STARTED:
                    one.deadline = time.monotonic() + time_limit
                    continue
                if kind != worker.PROGRESS:
                    content, last = content
                    if last or not waiting:
                        _stop([one])
                        crew.remove(one)
                    else:
                        one.task, task = waiting.popleft()
                        _send(one, function, task, last=fresh)
                yield number, kind, content
    finally:
        with _handled(signal.SIG_IGN):
            _stop(crew)


def _started(context: Any, task: int, memory_limit_mb: int | None) -> _Worker:
    ours, theirs = context.Pipe()
    # A daemon: multiprocessing would wait for another one, should the program end before it is stopped.
    process = context.Process(target=worker.main, args=(theirs, memory_limit_mb), daemon=True)
    # Ignored by the new process too: else Ctrl-C while it imports is a traceback.
    with _handled(signal.SIG_IGN), theirs, _without_main():
        process.start()
    return _Worker(process, ours, task)


def _send(one: _Worker, function: Callable[[Any], Any], task: Any, *, last: bool) -> None:
    try:
        work = pickle.dumps((function, task))
    except Exception as error:  # an own head may be given anything
        work = pickle.dumps((worker.refuse, f"it can't be sent to a process of its own ({type(error).__name__})"))
    one.deadline = time.monotonic() + START_SECONDS
    with contextlib.suppress(OSError):  # it has died, which is seen next
        one.pipe.send((work, last))


def _changed(crew: Sequence[_Worker]) -> list[_Worker]:
    """Wait for a message, the end of a process or of a task's time, and return whose."""
    left = min(one.deadline for one in crew) - time.monotonic()
    known = [one.pipe for one in crew], [one.process.sentinel for one in crew]
    ready = connection.wait([*known[0], *known[1]], timeout=min(max(left, 0.0), LONGEST_WAIT_SECONDS))
    now = time.monotonic()
    return [one for one in crew if one.pipe in ready or one.process.sentinel in ready or one.deadline <= now]


def _heard(one: _Worker, time_limit: float) -> tuple[str, Any]:
    """The next message of a worker; one that can't send any more, or has no time left, has failed."""
    try:
        if one.pipe.poll():
            return one.pipe.recv()
    except (EOFError, OSError):
        one.process.join(END_SECONDS)
    except Exception as error:  # whoever runs in that process can write to the pipe
        return worker.FAILED, (f"its process sent what can't be read ({type(error).__name__})", True)
    if not one.process.is_alive():
        return worker.FAILED, (f"its process died ({_cause(one.process.exitcode)})", True)
    if one.deadline > time.monotonic():
        return worker.FAILED, ("its process cut the connection to the run", True)
    return worker.FAILED, (f"stopped: it ran longer than {time_limit:g} s", True)


def _stop(crew: Sequence[_Worker]) -> None:
    """End workers and all that they started; nothing of them runs when this returns."""
    for one in crew:
        one.pipe.close()
        if one.process.is_alive():
            one.process.terminate()
            _signal("kill", one, "SIGCONT")  # a head may have stopped the one that cleans up
    limit = time.monotonic() + END_SECONDS
    for one in crew:
        one.process.join(max(limit - time.monotonic(), 0.0))
        _signal("killpg", one, "SIGKILL")
        if one.process.is_alive():
            one.process.kill()
        one.process.join()


def _signal(send: str, one: _Worker, name: str) -> None:
    """Where the system has such a call, and the process is there."""
    if hasattr(os, send) and hasattr(signal, name) and one.process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            getattr(os, send)(one.process.pid, getattr(signal, name))


def _cause(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    known = {number.value: number.name for number in signal.Signals}  # not those of real time
    return f"signal {known.get(-exitcode, -exitcode)}"


def _context(*, forked: bool) -> Any:
    """Processes are forked from a server that has the libraries loaded and runs no threads; else started anew."""
    if not forked or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    with _handled(signal.SIG_IGN), _without_main():  # as above, for the server
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
def _without_main() -> Iterator[None]:
    """Processes that start here don't import the user's script, which would run all of it again in each of them."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


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
