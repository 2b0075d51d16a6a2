"""A worker process: runs the tasks that `pool` sends, one after the other. `watcher` removes what they leave behind."""

import contextlib
import os
import pickle
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.run import watcher
from benchmarks.run.message import DONE, FAILED, PROGRESS, STARTED, encoded
from featurestore.errors import reason

# By these variables programs find the folder for temporary files; the last one is joblib's.
_TEMPORARY = ("TMPDIR", "TEMP", "TMP", "JOBLIB_TEMP_FOLDER")
# None that is inherited has a higher number.
_MOST_DESCRIPTORS = 1 << 16
_connections: list[Connection] = []


def main(connection: Connection, memory_limit_mb: int | None, folder: Path, of_runner: Path | None) -> None:
    """The main function of a worker process; returns when `pool` has closed the connection.

    Parameters
    ----------
    folder, of_runner
        For temporary files of the tasks; for those of the runner, see `watcher.watched`.
    """
    if hasattr(os, "fork"):
        _leave_no_core()
        watcher.watched(
            lambda printed: _serve(connection, memory_limit_mb, folder, printed), connection.close, folder, of_runner
        )
    _serve(connection, memory_limit_mb, folder, None)


def report(done: int, total: int) -> None:
    """Send the progress of the task that runs in this process to the runner."""
    for connection in _connections:
        connection.send_bytes(encoded(PROGRESS, [done, total]))


def is_worker() -> bool:
    """Whether this process runs tasks for another one."""
    return bool(_connections)


class _Refused(Exception):
    """Raised in place of a task that can't be run; the message is the reason."""


def refuse(sentence: str) -> NoReturn:
    """Run in place of a task that can't be sent to a worker: it fails with this sentence."""
    raise _Refused(sentence)


def _serve(connection: Connection, memory_limit_mb: int | None, folder: Path, printed: int | None) -> None:
    """Run tasks until the runner closes the connection, or the last one is done."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if printed is not None:
        _close_inherited({connection.fileno(), printed})
    os.environ.update(dict.fromkeys(_TEMPORARY, str(folder)))
    tempfile.tempdir = str(folder)
    _redirect(printed)
    _die_first()
    if memory_limit_mb is not None:
        _limit_memory(memory_limit_mb)
    _connections.append(connection)
    with contextlib.suppress(EOFError, OSError):  # the runner has ended
        while True:
            work, last = connection.recv()
            connection.send_bytes(encoded(STARTED, None))
            connection.send_bytes(_answered(work, memory_limit_mb))
            if last:
                return


def _answered(work: bytes, memory_limit_mb: int | None) -> bytes:
    try:
        return encoded(DONE, _result(work))
    except _Refused as refused:
        sentence = str(refused)
    except MemoryError as error:
        limit = "there is" if memory_limit_mb is None else f"{memory_limit_mb} MB"
        said = reason(error)
        sentence = f"stopped: it needed more memory than {limit}" + (f" ({said})" if said != "MemoryError" else "")
    except BaseException as error:  # a head may raise SystemExit
        sentence = f"{type(error).__name__} ended its task"
    return encoded(FAILED, sentence)


def _result(work: bytes) -> Any:
    function: Callable[[Any], Any]
    function, task = pickle.loads(work)  # the run made it
    return function(task)


def _close_inherited(kept: set[int]) -> None:
    """Close the pipes to the run's other processes: a head that writes to all descriptors would end those."""
    for server in (forkserver._forkserver, resource_tracker._resource_tracker):
        type(server).__init__(server)  # a head that needs one starts its own
    first = 3  # after stdin, stdout and stderr
    for descriptor in sorted(kept):
        os.closerange(first, descriptor)
        first = max(first, descriptor + 1)
    os.closerange(first, _MOST_DESCRIPTORS)


def _redirect(printed: int | None) -> None:
    """Send what a head prints to the watcher, or to stderr, since stdout is the command's; give it an empty stdin."""
    sys.stdout = sys.stderr
    with contextlib.suppress(OSError):  # the runner has no such streams
        if printed is not None:
            os.dup2(printed, 2)
            os.close(printed)
        os.dup2(2, 1)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)


def _leave_no_core() -> None:
    """Have a crash write no file."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _die_first() -> None:
    """Have Linux end this process, and none of the run's own, when memory is gone."""
    with contextlib.suppress(OSError):  # another system, or one that does not allow it
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")


def _limit_memory(megabytes: int) -> None:
    if sys.platform == "linux":
        import resource

        status = Path("/proc/self/status").read_text("utf-8", "replace").splitlines()
        held = int(next(line.split()[1] for line in status if line.startswith("VmData"))) * 1024
        limit = held + megabytes * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
