"""Runs a DuckDB query in a thread so that Ctrl-C and a time limit can interrupt it, which DuckDB itself ignores."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

Result = TypeVar("Result")
# An interrupt that arrives before DuckDB has started the query is lost, so it is repeated at this interval.
AGAIN_SECONDS = 0.05
# A signal that the system delivers to another thread does not wake this one, so it looks for one at this interval.
LOOK_SECONDS = 0.5


class TimeLimitExceeded(Exception):
    """The work exceeded its time limit."""


def interruptible(work: Callable[[], Result], stop: Callable[[], None], *, seconds: float | None = None) -> Result:
    """Run ``work`` in a thread and return its result; on Ctrl-C or after ``seconds``, ``stop`` it and wait for its end.

    Raises
    ------
    TimeLimitExceeded
        When it took longer than ``seconds``.
    """
    if seconds is None and threading.current_thread() is not threading.main_thread():
        return work()  # signals are only delivered to the main thread
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            until = time.monotonic() + (threading.TIMEOUT_MAX if seconds is None else seconds)
            while not running.done() and (left := until - time.monotonic()) > 0:
                wait([running], min(left, LOOK_SECONDS))
            late = not running.done()
        finally:
            while not running.done():
                stop()
                wait([running], AGAIN_SECONDS)
    if late:
        raise TimeLimitExceeded
    try:
        return running.result()
    finally:
        del running  # its error holds this frame: a cycle would keep DuckDB open until the garbage is collected
