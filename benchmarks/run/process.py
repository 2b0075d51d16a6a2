"""One worker process as the run sees it: started, given a task, listened to, stopped; the scheduling is `pool`'s."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.run import watcher, worker
from benchmarks.run.inbox import Inbox
from benchmarks.run.message import FAILED, PROGRESS, STARTED, decoded

# Seconds in which a worker must be ready for its task; they do not count towards the time limit.
START_SECONDS = 120.0
# Seconds that a worker gets to end its child processes.
END_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 3600.0
# Bytes of the path of the folder for temporary files, where the server's socket lies: the path of a socket has at most
# 103, and `multiprocessing` adds 32.
LONGEST_FOLDER = 70
# The signals that tell a command to stop; Windows has the first two.
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")
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


@dataclass
class WorkerProcess:
    """A worker process, the number of its task, and the time at which it is stopped (`time.monotonic`).

    ``folder`` is for its temporary files; ``last`` says whether it ends after its task, ``begun`` whether it began it.
    """

    process: BaseProcess
    inbox: Inbox
    folder: Path
    task: int
    deadline: float = 0.0
    last: bool = False
    begun: bool = False


def started(context: Any, task: int, memory_limit_mb: int | None, largest: int, parent: Path | None) -> WorkerProcess:
    """Start a worker for the task of that number; its messages have at most ``largest`` bytes.

    Its temporary folder is in ``parent``, which it removes too if this process is killed.
    """
    ours, theirs = context.Pipe()
    folder = Path(tempfile.mkdtemp(prefix="worker-", dir=parent))
    # A daemon, since at exit multiprocessing would wait for any other process.
    process = context.Process(target=worker.main, args=(theirs, memory_limit_mb, folder, parent), daemon=True)
    # A spawned process inherits the handler: without it, Ctrl-C during its imports would print a traceback. A forked
    # one has its server's, and that imports for seconds before it answers: an interrupt meanwhile must not be lost.
    spawned = context.get_start_method() == "spawn"
    try:
        with handled(signal.SIG_IGN) if spawned else contextlib.nullcontext(), theirs, _without_main():
            process.start()
    except BaseException:
        watcher.remove(folder)
        raise
    return WorkerProcess(process, Inbox(ours, largest), folder, task)


def send(one: WorkerProcess, function: Callable[[Any], Any], task: Any, *, last: bool) -> None:
    """Send a worker its task; the process ends after it if it is the ``last``."""
    try:
        work = pickle.dumps((function, task))
    except Exception as error:  # the parameters of a user's head may be any objects
        work = pickle.dumps((worker.refuse, f"it can't be sent to a process of its own ({type(error).__name__})"))
    one.deadline, one.last, one.begun = time.monotonic() + START_SECONDS, last, False
    with contextlib.suppress(OSError):  # it has died: `heard` reports that
        one.inbox.pipe.send((work, last))


def changed(crew: Sequence[WorkerProcess]) -> list[WorkerProcess]:
    """Wait for messages, ended processes and time limits; the workers that have one."""
    left = 0.0 if any(one.inbox.ready for one in crew) else min(one.deadline for one in crew) - time.monotonic()
    known = [one.inbox.pipe for one in crew], [one.process.sentinel for one in crew]
    ready = connection.wait([*known[0], *known[1]], timeout=min(max(left, 0.0), LONGEST_WAIT_SECONDS))
    now = time.monotonic()
    return [
        one
        for one in crew
        if one.inbox.ready or one.inbox.pipe in ready or one.process.sentinel in ready or one.deadline <= now
    ]


def heard(one: WorkerProcess, time_limit: float) -> tuple[str, Any, bool] | None:
    """The next message of a worker, or FAILED with the reason when it has died or its time is over.

    Also whether the process ends now. None where only a part of a message is here.
    """
    alive = one.process.is_alive()
    try:
        message = one.inbox.take()
        while message is None and not alive and one.inbox.pipe.poll():
            message = one.inbox.take()
        if message is not None:
            return _checked(one, decoded(message), time_limit)
        if alive:
            return _late(one, time_limit)
    except (EOFError, OSError):
        one.process.join(END_SECONDS)
    except ValueError:  # a head can write to the pipe too
        return FAILED, "its process sent what is no result", True
    if not one.process.is_alive():
        return FAILED, f"its process died ({_cause(one.process.exitcode)})", True
    return _late(one, time_limit) or (FAILED, "its process cut the connection to the run", True)


def _checked(one: WorkerProcess, message: tuple[str, Any], time_limit: float) -> tuple[str, Any, bool]:
    """``message`` where it may come now; raises ValueError if not. A result counts also where it is read late."""
    kind, content = message
    if one.begun == (kind == STARTED):
        raise ValueError("not now")
    if kind == STARTED:
        one.deadline, one.begun = time.monotonic() + time_limit, True
        return kind, None, False
    if kind == PROGRESS:
        if not (isinstance(content, list) and [type(number) for number in content] == [int, int]):
            raise ValueError("no progress")
        return _late(one, time_limit) or (kind, content, False)
    if kind == FAILED and not isinstance(content, str):
        raise ValueError("no sentence")
    return kind, content, one.last


def _late(one: WorkerProcess, time_limit: float) -> tuple[str, Any, bool] | None:
    if one.deadline > time.monotonic():
        return None
    return FAILED, f"stopped: it ran longer than {time_limit if one.begun else START_SECONDS:g} s", True


def stop(crew: Sequence[WorkerProcess]) -> None:
    """End workers and their child processes, and wait until none is left."""
    for one in crew:
        one.inbox.pipe.close()
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
        watcher.remove(one.folder)  # where the watcher could not


def _signal(send: str, one: WorkerProcess, name: str) -> None:
    """Call ``os.send(pid, signal)`` if the system has both and the process exists."""
    if hasattr(os, send) and hasattr(signal, name) and one.process.pid is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            getattr(os, send)(one.process.pid, getattr(signal, name))


def _cause(exitcode: int | None) -> str:
    if exitcode is None or exitcode >= 0:
        return f"exit code {exitcode}"
    known = {number.value: number.name for number in signal.Signals}  # not those of real time
    return f"signal {known.get(-exitcode, -exitcode)}"


def context_of(*, forked: bool) -> Any:
    """Fork workers from a server that has loaded the libraries and runs no threads; where it can't be, spawn them."""
    long = len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER
    if not forked or long or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver  # not on Windows

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    with handled(signal.SIG_IGN), _without_main():  # as above, for the server
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def interrupted_later() -> Iterator[None]:
    """Defer Ctrl-C, and a `kill`, to the end of the block, for steps that must not be left half done."""
    came: list[int] = []
    with contextlib.ExitStack() as stack:
        for name in _STOPPING:
            number = getattr(signal, name, None)
            # None: a library's own handler in C, which could not be put back.
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                stack.enter_context(handled(lambda number, _: came.append(number), number))
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
def handled(handler: Any, number: int = signal.SIGINT) -> Iterator[None]:
    """Set a handler of Ctrl-C for the block; only the main thread can, and only it is ever interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
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
