"""Bounds the memory of all images that are read and decoded at the same time; it does neither."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from featurestore.collections.limits import MEMORY, READ_BYTES

_changed = threading.Condition()
# Bytes taken for what is decoded, and for what was read.
_taken = [0, 0]


@contextmanager
def room(size: int) -> Iterator[None]:
    """Take ``size`` bytes of `MEMORY` for the block, at most all of it; waits until other threads have left enough."""
    with _share(size, 0, MEMORY):
        yield


@contextmanager
def read_room(size: int) -> Iterator[None]:
    """Take ``size`` bytes of `READ_BYTES` for the block, as `room` does; it is entered before `room`, never within."""
    with _share(size, 1, READ_BYTES):
        yield


@contextmanager
def _share(size: int, kind: int, limit: int) -> Iterator[None]:
    size = min(size, limit)
    with _changed:
        _changed.wait_for(lambda: _taken[kind] + size <= limit)
        _taken[kind] += size
    try:
        yield
    finally:
        with _changed:
            _taken[kind] -= size
            _changed.notify_all()


def _forget() -> None:
    """In a forked child: the threads that had taken memory are not in it."""
    global _changed, _taken
    _changed, _taken = threading.Condition(), [0, 0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
