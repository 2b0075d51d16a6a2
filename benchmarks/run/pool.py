"""Runs tasks in worker processes with limits: a task that crashes, hangs or uses too much memory fails alone."""

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
# Seconds in which a worker must be ready for its task; they do not count towards the time limit.
START_SECONDS = 120.0
# Seconds that a worker gets to end its child processes.
END_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 3600.0
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Imported once by the server that workers are forked from, since nearly every task needs them.
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
    """A worker process, the number of its task, and the time at which it is stopped (`time.monotonic`)."""

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
    """The number and result of each task, in the order in which the tasks end.

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
    refuse_worker()
    with _one_thread() if one_thread else contextlib.nullcontext():
        said = _messages(function, tasks, workers, time_limit, memory_limit_mb, fresh, one_thread)
        with contextlib.closing(said):  # stops the workers when the caller stops iterating
            for number, kind, content in said:
                if kind != worker.PROGRESS:
                    yield number, content if kind == worker.DONE else failed(content)
                elif on_progress:
                    on_progress(*content)


def refuse_worker() -> None:
    """Raise `InputError` in a worker process, whose task has loaded a script that starts a run when it is loaded."""
    if worker.is_worker():
        raise InputError(
            "put what starts the run below `if __name__ == '__main__':`, since worker processes load this file too"
        )


def _messages(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    time_limit: float,
    memory_limit_mb: int | None,
    fresh: bool,
    forked: bool,
) -> Generator[tuple[int, str, Any]]:
    """The messages of each task, with its number: progress, then its result or the reason of its failure."""
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
    # A daemon, since at exit multiprocessing would wait for any other process.
    process = context.Process(target=worker.main, args=(theirs, memory_limit_mb), daemon=True)
    # A spawned process inherits the handler: without it, Ctrl-C during its imports would print a traceback. A forked
    # one has its server's, and that imports for seconds before it answers: an interrupt meanwhile must not be lost.
    spawned = context.get_start_method() == "spawn"
    with _handled(signal.SIG_IGN) if spawned else contextlib.nullcontext(), theirs, _without_main():
        process.start()
    return _Worker(process, ours, task)


def _send(one: _Worker, function: Callable[[Any], Any], task: Any, *, last: bool) -> None:
    try:
        work = pickle.dumps((function, task))
    except Exception as error:  # the parameters of a user's head may be any objects
        work = pickle.dumps((worker.refuse, f"it can't be sent to a process of its own ({type(error).__name__})"))
    one.deadline = time.monotonic() + START_SECONDS
    with contextlib.suppress(OSError):  # it has died: `_heard` reports that
        one.pipe.send((work, last))


def _changed(crew: Sequence[_Worker]) -> list[_Worker]:
    """Wait for messages, ended processes and time limits; the workers that have one."""
    left = min(one.deadline for one in crew) - time.monotonic()
    known = [one.pipe for one in crew], [one.process.sentinel for one in crew]
    ready = connection.wait([*known[0], *known[1]], timeout=min(max(left, 0.0), LONGEST_WAIT_SECONDS))
    now = time.monotonic()
    return [one for one in crew if one.pipe in ready or one.process.sentinel in ready or one.deadline <= now]


def _heard(one: _Worker, time_limit: float) -> tuple[str, Any]:
    """The next message of a worker, or FAILED with the reason when it has died or its time is over."""
    try:
        if one.pipe.poll():
            return one.pipe.recv()
    except (EOFError, OSError):
        one.process.join(END_SECONDS)
    except Exception as error:  # code of a head can write to the pipe too
        return worker.FAILED, (f"its process sent what can't be read ({type(error).__name__})", True)
    if not one.process.is_alive():
        return worker.FAILED, (f"its process died ({_cause(one.process.exitcode)})", True)
    if one.deadline > time.monotonic():
        return worker.FAILED, ("its process cut the connection to the run", True)
    return worker.FAILED, (f"stopped: it ran longer than {time_limit:g} s", True)


def _stop(crew: Sequence[_Worker]) -> None:
    """End workers and their child processes, and wait until none is left."""
    for one in crew:
        one.pipe.close()
        if one.process.is_alive():
            one.process.terminate()
            _signal("kill", one, "SIGCONT")  # a head may have stopped the process that cleans up
    limit = time.monotonic() + END_SECONDS
    for one in crew:
        one.process.join(max(limit - time.monotonic(), 0.0))
        _signal("killpg", one, "SIGKILL")
        if one.process.is_alive():
            one.process.kill()
        one.process.join()


def _signal(send: str, one: _Worker, name: str) -> None:
    """Call ``os.send(pid, signal)`` if the system has both and the process exists."""
    if hasattr(os, send) and hasattr(signal, name) and one.process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            getattr(os, send)(one.process.pid, getattr(signal, name))


def _cause(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    known = {number.value: number.name for number in signal.Signals}  # not those of real time
    return f"signal {known.get(-exitcode, -exitcode)}"


def _context(*, forked: bool) -> Any:
    """Fork workers from a server that has loaded the libraries and runs no threads; else spawn them."""
    if not forked or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    with _handled(signal.SIG_IGN), _without_main():  # as above, for the server
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def interrupted_later() -> Iterator[None]:
    """Defer Ctrl-C to the end of the block, for steps that must not be left half done."""
    came: list[int] = []
    with _handled(lambda number, _: came.append(number)):
        yield
    if came:
        signal.raise_signal(came[0])


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep new processes from importing the user's script, which would run all of it again in each of them."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _handled(handler: Any) -> Iterator[None]:
    """Set a handler of Ctrl-C for the block; only the main thread can, and only it is ever interrupted."""
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
    """Set the variables by which libraries choose their number of threads, which they read when they are loaded."""
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
