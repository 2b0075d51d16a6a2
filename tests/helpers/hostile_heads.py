"""Heads that do what a head should not, one way each, for the tests of what runs them."""

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from multiprocessing import shared_memory
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from scipy import sparse

from benchmarks.run import cell, worker
from benchmarks.run.message import STARTED, encoded

# Given to every process that a head starts, so that a test finds those that are left.
MARK = "HOSTILE_HEAD"


class Saying(Exception):
    """An error that says nothing, or fails to."""

    def __init__(self, said: Callable[[], Any]) -> None:
        self.said = said

    def __str__(self) -> Any:
        return self.said()


class Unpicklable(Exception):
    """An error that can't leave its process."""

    def __init__(self, first: int, second: int) -> None:
        self.lock = threading.Lock()


class OwnExit(SystemExit):
    """A subclass of what ends a process."""


def throw(error: BaseException) -> NoReturn:
    raise error


def recurse() -> None:
    recurse()


def sleep_on() -> None:
    """Hang, whatever one is told."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except BaseException:  # a head that is deaf
            continue


def start(*, session: bool) -> None:
    subprocess.Popen(
        ["sleep", "600"], env={**os.environ, MARK: sys._getframe(1).f_code.co_name}, start_new_session=session
    )


def daemonise() -> None:
    """A process whose parent has ended, in a session of its own."""
    pid = os.fork()
    if pid == 0:
        start(session=True)
        os._exit(0)
    os.waitpid(pid, 0)


def exit_later() -> None:
    threading.Thread(target=lambda: (time.sleep(0.2), os._exit(7)), daemon=True).start()


def print_all() -> None:
    print("printed by a head")
    sys.stdout.flush()
    os.write(1, b"\x1b]0;owned\x07written by a head\n")
    subprocess.run(["echo", "printed by its child"], check=True)


def flood() -> None:
    for _ in range(20):
        os.write(1, b"y" * 100_000)


def elsewhere() -> None:
    os.chdir("/")
    os.environ["PATH"] = ""
    signal.setitimer(signal.ITIMER_REAL, 1.0)


def warn_of_all() -> None:
    warnings.simplefilter("error")
    warnings.warn("a warning is an error", stacklevel=2)


def connection() -> Connection:
    """That to whoever gives this process its tasks."""
    (found,) = worker._connections
    return found


def write_everywhere() -> None:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"x" * 100)
    time.sleep(60)


def send_part() -> None:
    """The start of a message, and no more."""
    os.write(connection().fileno(), struct.pack("!i", 1000) + b"abc")
    time.sleep(60)


class Runs:
    """Leaves a mark in whatever process unpickles it."""

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return exec, (f"import os; os.environ[{MARK!r}] = 'unpickled'",)


def break_checks() -> None:
    """Have all answers pass, and the answer be none."""
    cell.on_all_classes = lambda model, answer, n_rows, n_classes: np.full((n_rows, n_classes), np.nan)


def break_numpy() -> None:
    np.isfinite = np.unique = lambda *_: throw(RuntimeError("numpy is broken"))


def fill_temporary() -> None:
    folder = tempfile.mkdtemp(prefix=MARK)
    Path(folder, "file").write_bytes(b"x" * 100_000)
    os.chmod(folder, 0)
    tempfile.NamedTemporaryFile(prefix=MARK, delete=False).close()


def share_memory() -> None:
    shared_memory.SharedMemory(f"{MARK}_{os.getpid()}", create=True, size=1000)
    multiprocessing.get_context("spawn").Semaphore()
    os._exit(3)


def leave_and_kill_group() -> None:
    start(session=True)
    os.killpg(os.getpgid(os.getppid()), signal.SIGKILL)
    time.sleep(60)


# What `fit` does first, and the failure that is told; None: the head is none the worse for it.
FIT: dict[str, tuple[Callable[[], Any], str | None]] = {
    "exit_0": (lambda: sys.exit(0), "SystemExit: 0"),
    "exit_text": (lambda: sys.exit("enough"), "SystemExit: enough"),
    "own_exit": (lambda: throw(OwnExit(3)), "OwnExit: 3"),
    "hard_exit": (lambda: os._exit(0), "its process died (exit code 0)"),
    "interrupt": (lambda: throw(KeyboardInterrupt()), "KeyboardInterrupt"),
    "generator_exit": (lambda: throw(GeneratorExit()), "GeneratorExit"),
    "mute": (lambda: throw(Saying(lambda: throw(ValueError("no text")))), "Saying"),
    "no_string": (lambda: throw(Saying(lambda: 3)), "Saying"),
    "mute_exit": (lambda: throw(Saying(lambda: throw(SystemExit(1)))), "SystemExit ended its task"),
    "unpicklable": (lambda: throw(Unpicklable(1, 2)), "Unpicklable: (1, 2)"),
    "endless": (lambda: throw(RuntimeError("x" * 10_000_000)), f"RuntimeError: {'x' * 186}"),
    "escapes": (lambda: throw(RuntimeError("\x1b]0;owned\x07")), r"RuntimeError: \x1b]0;owned\x07"),
    "recursion": (recurse, "RecursionError: maximum recursion depth exceeded"),
    "memory": (lambda: throw(MemoryError()), "stopped: it needed more memory than there is"),
    "segfault": (lambda: ctypes.string_at(0), "its process died (signal SIGSEGV)"),
    "real_time_signal": (lambda: os.kill(os.getpid(), signal.SIGRTMIN + 1), "its process died (signal 35)"),
    "parent": (lambda: os.kill(os.getppid(), signal.SIGTERM) or time.sleep(60), "its process died (signal SIGTERM)"),
    "orphan": (lambda: os.kill(os.getppid(), signal.SIGKILL) or time.sleep(60), "its process died (signal SIGKILL)"),
    "pipes": (lambda: os.closerange(3, 256), "its process died (exit code 0)"),
    "garbage": (lambda: connection().send_bytes(b"nopes"), "its process sent what is no result"),
    "pickle": (lambda: connection().send_bytes(pickle.dumps(Runs())), "its process sent what is no result"),
    "everywhere": (write_everywhere, "its process sent what is no result"),
    "part": (send_part, "stopped: it ran longer than 2 s"),
    "begins_again": (
        lambda: connection().send_bytes(encoded(STARTED, None)),
        "its process sent what is no result",
    ),
    "checks": (break_checks, "its process sent what is no result (no probabilities)"),
    "numpy": (break_numpy, "RuntimeError: numpy is broken"),
    "long_name": (lambda: throw(type("E\n" * 1_000_000, (SystemExit,), {"__str__": recurse})()), ("E\\n" * 100)[:200]),
    "no_permission": (lambda: os.umask(0o777), None),
    "temporary": (fill_temporary, None),
    "shares": (share_memory, "its process died (exit code 3)"),
    "leaves_and_kills": (leave_and_kill_group, "its process died (signal SIGKILL)"),
    "warns": (warn_of_all, "UserWarning: a warning is an error"),
    "prints": (print_all, None),
    "floods": (flood, None),
    "elsewhere": (elsewhere, None),
    "exits_later": (exit_later, None),
    "child": (lambda: start(session=False), None),
    "session": (lambda: start(session=True), None),
    "daemon": (daemonise, None),
    "leaves_and_exits": (lambda: (daemonise(), os._exit(0)), "its process died (exit code 0)"),
    "starts_and_hangs": (lambda: (start(session=True), daemonise(), sleep_on()), "stopped: it ran longer than 2 s"),
    "stops": (lambda: os.kill(os.getpid(), signal.SIGSTOP), "stopped: it ran longer than 2 s"),
    "stops_both": (
        lambda: (start(session=True), os.kill(os.getppid(), signal.SIGSTOP), time.sleep(60)),
        "stopped: it ran longer than 2 s",
    ),
}


CLASSES = "expected distinct whole numbers from 0 to 1"
# What stands in `classes_`, as made of the classes that were seen, and the failure that is told.
ANSWERED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "twice": (lambda seen: np.zeros(2, int), f"ValueError: classes_ is [0 0] (int64), {CLASSES}"),
    "negative": (lambda seen: np.array([0, -1]), f"ValueError: classes_ is [ 0 -1] (int64), {CLASSES}"),
    "beyond": (lambda seen: seen + 1, f"ValueError: classes_ is [1 2] (int64), {CLASSES}"),
    "floats": (lambda seen: seen + 0.9, f"ValueError: classes_ is [0.9 1.9] (float64), {CLASSES}"),
    "names": (lambda seen: np.array(["0", "1"]), f"ValueError: classes_ is ['0' '1'] (<U1), {CLASSES}"),
    "table": (lambda seen: seen[None], f"ValueError: classes_ is [[0 1]] (int64), {CLASSES}"),
    "nothing": (lambda seen: None, f"ValueError: the head has no classes_, {CLASSES}"),
    "empty": (lambda seen: [], f"ValueError: classes_ is [] (float64), {CLASSES}"),
    "longer": (lambda seen: np.arange(3)[:1], "ValueError: predict_proba gave (30, 2), expected (30, 1)"),
}
NONE = "ValueError: predict_proba gave rows that are no probabilities"
# What becomes of right probabilities, and the failure that is told.
PROBA: dict[str, tuple[Callable[[Any], Any], str]] = {
    "nan": (lambda proba: proba * np.nan, NONE),
    "infinite": (lambda proba: proba + np.inf, NONE),
    "below_zero": (lambda proba: proba + np.array([1, -1]), NONE),
    "sums_to_two": (lambda proba: proba * 2, NONE),
    "complex": (lambda proba: proba + 1j, "ValueError: predict_proba gave complex128, expected floats"),
    "objects": (lambda proba: proba.astype(object), "ValueError: predict_proba gave object, expected floats"),
    "short": (lambda proba: proba[1:], "ValueError: predict_proba gave (29, 2), expected (30, 2)"),
    "flat": (lambda proba: proba.ravel(), "ValueError: predict_proba gave (60,), expected (30, 2)"),
    "nothing": (lambda proba: None, "ValueError: predict_proba gave (), expected (30, 2)"),
    "sparse": (lambda proba: sparse.csr_array(proba), "ValueError: predict_proba gave (), expected (30, 2)"),
    "deep": (lambda proba: proba[None], "ValueError: predict_proba gave (1, 30, 2), expected (30, 2)"),
    "text": (lambda proba: proba.astype(str), "ValueError: predict_proba gave <U32, expected floats"),
    "masked": (
        lambda proba: np.ma.masked_greater(proba, 0.5),
        "ValueError: predict_proba gave masked values, expected a probability for each class",
    ),
}


class Hostile:
    """A head of the class rates that does one thing wrong; ``how`` names what, in one of the tables."""

    def __init__(self, table: str, how: str) -> None:
        self.table = table
        self.how = how

    def fit(self, X: Any, y: Any) -> None:  # returns nothing, which is no fault
        self.classes_, counts = np.unique(y, return_counts=True)
        self.rates = counts / len(y)
        if self.table == "fit":
            FIT[self.how][0]()
        elif self.table == "classes":
            self.classes_ = ANSWERED[self.how][0](self.classes_)
        elif self.table == "reversed":
            self.classes_, self.rates = self.classes_[::-1], self.rates[::-1]

    def predict_proba(self, X: Any) -> Any:
        proba = np.tile(self.rates, (len(X), 1))
        return PROBA[self.how][0](proba) if self.table == "proba" else proba


def make(*, seed: int, table: str, how: str = "") -> Hostile:
    return Hostile(table, how)
