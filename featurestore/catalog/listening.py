"""Runs DuckDB's work beside the caller, who listens meanwhile for Ctrl-C and for the time: DuckDB looks at neither."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

Result = TypeVar("Result")
# How often what runs is told to stop: told before DuckDB has begun, it would not know.
AGAIN_SECONDS = 0.05


class TooLong(Exception):
    """The work took longer than it may."""


def listening(work: Callable[[], Result], stop: Callable[[], None], *, seconds: float | None = None) -> Result:
    """Run ``work`` in a thread of its own, and ``stop`` it at Ctrl-C or after ``seconds``; returns when it has ended.

    Raises
    ------
    TooLong
        When it took longer.
    """
    if seconds is None and threading.current_thread() is not threading.main_thread():
        return work()  # a signal reaches the main thread only
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(work)
        try:
            wait([running], None if seconds is None else min(seconds, threading.TIMEOUT_MAX))
            late = not running.done()
        finally:
            while not running.done():
                stop()
                wait([running], AGAIN_SECONDS)
    if late:
        raise TooLong
    return running.result()
