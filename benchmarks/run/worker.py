"""A worker process: runs the tasks that `pool` sends, one after the other, and leaves no processes behind.

A worker is two processes. One runs the tasks, which are anybody's code. The other starts it, waits for it, and then
kills whatever it left running: on Linux also child processes in sessions of their own.
"""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

# What a worker sends: the kind of message and its content.
STARTED, DONE, FAILED, PROGRESS = "started", "done", "failed", "progress"
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_connections: list[Connection] = []


def main(connection: Connection, memory_limit_mb: int | None) -> None:
    """The main function of a worker process; returns when `pool` has closed the connection."""
    if not hasattr(os, "fork"):
        _serve(connection, memory_limit_mb)
        return
    os.setsid()  # out of reach of Ctrl-C, and one group to kill
    _prctl(_SET_CHILD_SUBREAPER, 1)
    multiprocessing.current_process().daemon = False  # heads may start processes
    watcher = os.getpid()
    runs_tasks = os.fork()
    if runs_tasks == 0:
        _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        code = 1
        try:
            if os.getppid() == watcher:
                _serve(connection, memory_limit_mb)
            code = 0
        finally:
            os._exit(code)  # skips exit handlers that a head may have registered
    connection.close()
    _watch(runs_tasks)


def report(done: int, total: int) -> None:
    """Send the progress of the task that runs in this process to the runner."""
    for connection in _connections:
        connection.send((PROGRESS, (done, total)))


def is_worker() -> bool:
    """Whether this process runs tasks for another one."""
    return bool(_connections)


class _Refused(Exception):
    """Raised in place of a task that can't be run; the message is the reason."""


def refuse(sentence: str) -> NoReturn:
    """Run in place of a task that can't be sent to a worker: it fails with this sentence."""
    raise _Refused(sentence)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _watch(runs_tasks: int) -> NoReturn:
    """Wait for the process that runs the tasks, end its child processes, and exit with its exit code or signal."""
    signal.signal(signal.SIGTERM, lambda number, frame: _end(-number))
    threading.Thread(target=_end_with_runner, daemon=True).start()
    _, status = os.waitpid(runs_tasks, 0)
    _end(os.waitstatus_to_exitcode(status))


def _end_with_runner() -> None:
    """End this worker when the runner dies: only the runner would stop a head that hangs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the main thread waits for it
    runner = multiprocessing.parent_process()
    if runner is not None:
        runner.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _end(exitcode: int) -> NoReturn:
    """Kill all descendants and exit with ``exitcode``, or by signal ``-exitcode`` where it is negative."""
    while children := _children(os.getpid()):  # those whose parent is killed become children of this process
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)
    if exitcode < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to take back
            signal.signal(-exitcode, signal.SIG_DFL)
        os.kill(os.getpid(), -exitcode)
    os._exit(exitcode)


def _children(process: int) -> list[int]:
    """The child processes of a process, from /proc; empty on systems without it."""
    return [
        int(pid) for file in Path(f"/proc/{process}/task").glob("*/children") for pid in file.read_text("ascii").split()
    ]


def _left() -> list[int]:
    """Processes that a task left running: children of this process, and orphans that its watcher inherited."""
    own = os.getpid()
    return [child for parent in (own, os.getppid()) for child in _children(parent) if child != own]


def _serve(connection: Connection, memory_limit_mb: int | None) -> None:
    """Run tasks until the runner closes the connection, or a task leaves threads or processes running."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _redirect()
    if memory_limit_mb is not None:
        _limit_memory(memory_limit_mb)
    _connections.append(connection)
    with contextlib.suppress(EOFError, OSError):  # the runner has ended
        while True:
            work, last = connection.recv()
            connection.send((STARTED, None))
            with _restored():
                message = _answered(work, memory_limit_mb)
            last = last or threading.active_count() > 1 or bool(_left())
            connection.send_bytes(_pickled(message, last))
            if last:
                return


def _answered(work: bytes, memory_limit_mb: int | None) -> tuple[str, Any]:
    try:
        function, task = pickle.loads(work)
        return DONE, function(task)
    except _Refused as refused:
        return FAILED, str(refused)
    except MemoryError:
        limit = "there is" if memory_limit_mb is None else f"{memory_limit_mb} MB"
        return FAILED, f"stopped: it needed more memory than {limit}"
    except BaseException as error:  # a head may raise SystemExit
        return FAILED, f"{type(error).__name__} ended its task"


def _pickled(message: tuple[str, Any], last: bool) -> bytes:
    kind, content = message
    try:
        return pickle.dumps((kind, (content, last)))
    except Exception as error:  # the result of a user's head may hold any object
        return pickle.dumps((FAILED, (f"its result can't be sent ({type(error).__name__})", last)))


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    """Restore the working folder, environment variables and alarm after a task, for the next one."""
    folder, environment = os.getcwd(), dict(os.environ)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it was deleted
            os.chdir(folder)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def _redirect() -> None:
    """Send what a head prints to stderr, since stdout belongs to the command, and give it an empty stdin."""
    sys.stdout = sys.stderr
    with contextlib.suppress(OSError):  # the runner has no such streams
        os.dup2(2, 1)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)


def _limit_memory(megabytes: int) -> None:
    if sys.platform == "linux":
        import resource

        status = Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
        held = int(next(line.split()[1] for line in status if line.startswith("VmData"))) * 1024
        limit = held + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
