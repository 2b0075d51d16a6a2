"""Runs calls in processes with limits, a few at a time; one that has answered is used again."""

import atexit
import os
import threading
from collections.abc import Generator
from typing import Any

from featurestore.errors import QueryError
from featurestore.limited.process import LimitedProcess, check_seconds

# Each may take 2.5 GB.
MOST = 2

_idle: list[LimitedProcess] = []
_places = threading.BoundedSemaphore(MOST)


def run(task: str, *arguments: Any, seconds: float) -> Generator[bytes | str]:
    """Yield what the function ``task`` yields in a process with limits; see `LimitedProcess.call`.

    Raises
    ------
    InputError
        When ``seconds`` is not positive.
    QueryError
        Also when for ``seconds`` all processes are busy with other calls.
    """
    check_seconds(seconds)
    places = _places
    if not places.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
        raise QueryError(f"{MOST} other queries have been running for {seconds:g} s: wait for them")
    try:
        process = _taken()
        try:
            yield from process.call(task, *arguments, seconds=seconds)
        finally:
            if process.alive:  # it has answered, or the call failed there
                _idle.append(process)
    finally:
        places.release()


def end_all() -> None:
    """End the processes that wait for a call."""
    while _idle:
        _idle.pop().end()


def _taken() -> LimitedProcess:
    """One that waits for a call, or a new one."""
    while True:
        try:
            process = _idle.pop()
        except IndexError:
            return LimitedProcess()
        if process.alive:
            return process
        process.end()


def _forget_all() -> None:
    """In a forked child: the processes, and the calls that run, are the parent's."""
    global _places
    _places = threading.BoundedSemaphore(MOST)
    _idle.clear()


atexit.register(end_all)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_all)
