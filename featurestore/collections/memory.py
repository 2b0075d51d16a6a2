"""Bounds the memory of all images that are decoded at the same time; it does not decode."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# For all threads together, in bytes: what the largest image takes (64 million pixels, 10 bytes each while decoded).
MEMORY = 640_000_000
_changed = threading.Condition()
_taken = 0


@contextmanager
def room(size: int) -> Iterator[None]:
    """Take ``size`` bytes of `MEMORY` for the block, at most all of it; waits until other threads have left enough."""
    global _taken
    size = min(size, MEMORY)
    with _changed:
        _changed.wait_for(lambda: _taken + size <= MEMORY)
        _taken += size
    try:
        yield
    finally:
        with _changed:
            _taken -= size
            _changed.notify_all()


def _forget() -> None:
    """In a forked child: the threads that had taken memory are not in it."""
    global _changed, _taken
    _changed, _taken = threading.Condition(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
