"""Keeps what libraries print off the terminal and out of notebooks; errors are raised as ever."""

import ctypes
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

from featurestore._optional import import_extra

# Set to anything but 0, it lets libraries print what they like; the option --verbose sets it.
VERBOSE = "FEATURESTORE_VERBOSE"

_lock = threading.Lock()
_inside = 0
_filters = ExitStack()
_muted = 0
_stderr: tuple[Any, int] | None = None


def verbose() -> bool:
    """Whether the user wants to see what libraries print."""
    return os.environ.get(VERBOSE, "") not in ("", "0")


@contextmanager
def muted() -> Iterator[None]:
    """Discard stderr within the block, unless `verbose`: that of Python and, beneath it, that of libraries in C.

    It is for the loading of a model alone. LiteRT, TensorFlow and others report there in lines that can't be turned off
    one by one; what goes wrong is raised. Blocks may be nested and run in several threads: the last to leave restores.
    """
    global _muted
    if verbose():
        yield
        return
    with _lock:
        _muted += 1
        if _muted == 1:
            _redirect()
    try:
        yield
    finally:
        with _lock:
            _muted = max(0, _muted - 1)  # 0 where this process was forked meanwhile
            if not _muted:
                _restore()


@contextmanager
def aloud() -> Iterator[None]:
    """Within a block of `muted`: print again, for the progress of a download."""
    with _lock:
        _restore()
    try:
        yield
    finally:
        with _lock:
            if _muted:
                _redirect()


def _redirect() -> None:
    global _stderr
    if _stderr is not None:
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr to keep clean
        return
    _stderr = sys.stderr, saved
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = _Nowhere()


def _restore() -> None:
    global _stderr
    if _stderr is None:
        return
    stream, saved = _stderr
    os.dup2(saved, 2)
    os.close(saved)
    if isinstance(sys.stderr, _Nowhere):
        sys.stderr = stream
    _stderr = None


class _Nowhere(io.TextIOBase):
    """A stream that discards what is written; a library's log handler may keep it."""

    def write(self, text: str, /) -> int:
        return len(text)

    def fileno(self) -> int:
        return 2


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
    global _lock, _inside, _muted
    _lock, _inside, _muted = threading.Lock(), 0, 0
    _filters.close()
    _restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
