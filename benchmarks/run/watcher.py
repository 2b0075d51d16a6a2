"""Watches the process that runs tasks: passes on what it prints, and removes whatever it leaves behind.

A head is anybody's code, so the watcher runs none of it. Between it and the tasks stands a process that only waits: a
head that stops or kills its parent meets that one. On Linux the watcher finds all descendants, also those in sessions
of their own; elsewhere it finds none, and only the process group is killed.
"""

import codecs
import contextlib
import ctypes
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from featurestore import visible

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
# Seconds in which processes that a head left running may end by themselves: what they share is removed by then.
_GRACE, _PAUSE = 0.5, 0.005
# Bytes of a worker's output that are passed on.
MOST_PRINTED = 64 * 1024
_BLOCK = 8192


def watched(run: Callable[[int], None], close: Callable[[], None], folder: Path, of_runner: Path | None) -> NoReturn:
    """Call ``run`` in a process of its own and wait for it; then end its descendants and exit as it did.

    Parameters
    ----------
    run
        Gets the descriptor of the pipe to print to.
    close
        Closes what the watcher shares with that process and has no use for.
    folder
        The temporary folder of the tasks, which is removed.
    of_runner
        That of the runner, which is removed if the runner was killed: it could not do so itself.
    """
    os.setsid()  # out of reach of Ctrl-C, and one group to kill
    _prctl(_SET_CHILD_SUBREAPER, 1)
    multiprocessing.current_process().daemon = False  # heads may start processes
    output, printed = os.pipe()
    waits = _forked(lambda: _exit_as(_forked(lambda: _run_alone(run, output, printed))))
    close()
    os.close(printed)
    relay = threading.Thread(target=_relay, args=(output,), daemon=True)

    def end(exitcode: int) -> NoReturn:
        _end_descendants()
        if relay.is_alive():  # it may not have been started yet when the signal comes
            relay.join(_GRACE)
        remove(folder)
        runner = multiprocessing.parent_process()
        if of_runner is not None and runner is not None and not runner.is_alive():
            remove(of_runner)
        _exit(exitcode)

    signal.signal(signal.SIGTERM, lambda number, frame: end(-number))
    relay.start()
    threading.Thread(target=_end_with_runner, daemon=True).start()
    end(_exitcode(waits))


def remove(folder: Path) -> None:
    """Remove a temporary folder, however deep it is, and whatever permissions its owner has taken away."""
    waiting, names = [folder], itertools.count()
    while waiting:
        place = waiting.pop()
        with contextlib.suppress(OSError):
            os.chmod(place, 0o700)
            for entry in list(os.scandir(place)):
                if entry.is_dir(follow_symlinks=False):
                    os.chmod(entry.path, 0o700)  # else it can't be moved
                    flat = folder / f".{next(names)}.{uuid.uuid4().hex}"  # beside, so that no path is ever longer
                    os.rename(entry.path, flat)
                    waiting.append(flat)
                else:
                    os.unlink(entry.path)
        with contextlib.suppress(OSError):
            os.rmdir(place)
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def _forked(run: Callable[[], None]) -> int:
    """Call ``run`` in a child process, which dies with this one; its id."""
    parent = os.getpid()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if sys.platform == "linux":  # elsewhere the group of the watcher is all that can be killed
            os.setsid()
        if os.getppid() == parent:
            run()
        code = 0
    finally:
        os._exit(code)  # skips exit handlers that a head may have registered


def _run_alone(run: Callable[[int], None], output: int, printed: int) -> None:
    os.close(output)
    run(printed)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end_with_runner() -> None:
    """End this worker when the runner dies: only the runner would stop a head that hangs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])  # the main thread waits for it
    runner = multiprocessing.parent_process()
    if runner is not None:
        runner.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _end_descendants() -> None:
    """Ask all descendants to end, then kill them; those whose parent has ended become children of this process."""
    deadline = time.monotonic() + _GRACE
    while children := _children(os.getpid()):
        number = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
        time.sleep(_PAUSE)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _children(process: int) -> list[int]:
    """The child processes of a process, from /proc; empty on systems without it."""
    found: list[int] = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # that thread has ended meanwhile
            found += map(int, file.read_text().split())
    return found


def _exitcode(child: int) -> int:
    """Wait for a child; its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _exit_as(child: int) -> NoReturn:
    _exit(_exitcode(child))


def _exit(exitcode: int) -> NoReturn:
    """Exit with ``exitcode``, or by signal ``-exitcode`` where it is negative."""
    if exitcode < 0:
        with contextlib.suppress(OSError):  # SIGKILL has no handler to take back
            signal.signal(-exitcode, signal.SIG_DFL)
        os.kill(os.getpid(), -exitcode)
    os._exit(exitcode)


def _relay(output: int) -> None:
    """Pass on what the tasks print to stderr, since stdout belongs to the command: escaped, and not without end."""
    decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
    left = MOST_PRINTED
    with contextlib.suppress(OSError):  # the runner has no such stream
        while block := os.read(output, _BLOCK):
            if left > 0:
                _write(visible(decode(block[:left]), keep="\n\t"))
                left -= len(block)
                if left <= 0:
                    _write("\n… what a head prints beyond this is left out\n")


def _write(text: str) -> None:
    content = text.encode("utf-8", "backslashreplace")
    while content:
        content = content[os.write(2, content) :]
