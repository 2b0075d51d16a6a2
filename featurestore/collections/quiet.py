"""Keeps what image libraries print about damaged files off the terminal; the errors themselves are raised as ever."""

import ctypes
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from featurestore._optional import import_extra

_lock = threading.Lock()
_inside = 0
_filters = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore the warnings of image libraries within the block, in any number of threads at once.

    `warnings.catch_warnings` alone is not for threads: the last to leave would restore the filters of another one, and
    warnings would be ignored ever after. Here the first to enter sets the filters, and the last to leave restores them.
    """
    _silence_libraries()
    if getattr(sys.flags, "context_aware_warnings", False):  # each thread has its own filters
        with warnings.catch_warnings():
            _ignore()
            yield
        return
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside
    with _lock:
        if not _inside:
            _filters.enter_context(warnings.catch_warnings())
            _ignore()
        _inside += 1


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if not _inside:
            _filters.close()


def _ignore() -> None:
    """Damaged metadata and large images; the limit on size is checked elsewhere."""
    warnings.filterwarnings("ignore", module=r"(PIL|pillow_heif)\b")


@cache
def _silence_libraries() -> None:
    """Once a process: no log lines of Pillow unless a handler is set up, and no lines of libtiff on stderr.

    libtiff prints each error before Pillow raises it, and can only be told not to from C. The function is found among
    the libraries that Pillow has loaded; where it is linked another way, the lines stay.
    """
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    core = import_extra("PIL._imaging", "embed", needed_by="reading images")
    set_handler = getattr(ctypes.CDLL(core.__file__), "TIFFSetErrorHandler", None)
    if set_handler is not None:
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)


def _forget() -> None:
    """In a forked child: other threads, which may hold the lock, are not in it."""
    global _lock, _inside
    _lock, _inside = threading.Lock(), 0
    _filters.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
