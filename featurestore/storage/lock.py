"""The writer's lock of a store: acquires it, describes its holder, and detects that the store was replaced."""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from featurestore import system
from featurestore.errors import InputError, StoreError, StoreLocked
from featurestore.events import went_wrong
from featurestore.files import read_file, write_atomic

LOCK_FILE = ".lock"
HOLDER_FILE = ".lock.holder.json"
# Maximum bytes read of the holder's record, which is untrusted.
HOLDER_BYTES = 4096
# Seconds from which on a wait for the lock is logged.
SLOW = 1.0


@contextmanager
def locked(root: Path, *, wait_seconds: float, purpose: str) -> Iterator[Callable[[], bool]]:
    """Hold the lock of the store in ``root`` while the block runs.

    Yields
    ------
    A function that returns whether ``root`` is still the store that was locked: False once its folder was removed or
    replaced.

    Raises
    ------
    StoreLocked
        When another process holds it and did not finish in time.
    StoreError
        When the folder can't be written.
    """
    handle, lock = _acquire(root, wait_seconds)
    try:
        record = {"pid": os.getpid(), "host": socket.gethostname(), "purpose": purpose, "since": time.ctime()}
        write_atomic(root / HOLDER_FILE, json.dumps(record).encode(), sync=False)  # after a power cut nobody holds it
        yield lambda: _is_file_of(root, handle)
    finally:
        if _is_file_of(root, handle):  # otherwise the record belongs to another store
            (root / HOLDER_FILE).unlink(missing_ok=True)
        lock.release()
        os.close(handle)


def replaced(root: Path | str) -> StoreError:
    """The error of a writer whose store, in a folder or at an address, was removed or replaced."""
    return StoreError(
        f"the store {str(root)!r} was removed or replaced while this command ran, and nothing was written to the "
        "new one: run the command again if you mean that store"
    )


def _acquire(root: Path, wait_seconds: float) -> tuple[int, FileLock]:
    """The lock, and a file descriptor of its file, which prevents reuse of the inode while it is open."""
    if not wait_seconds >= 0:  # FileLock would wait forever
        raise InputError(f"got {wait_seconds:g} as the seconds to wait, expected 0 or more")
    path = root / LOCK_FILE
    lock = FileLock(path, timeout=wait_seconds)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CREAT | system.NOFOLLOW | system.WITHOUT_WAITING, 0o644)
        started = time.monotonic()
        try:
            lock.acquire()
        except BaseException:
            os.close(handle)
            raise
    except Timeout:
        raise StoreLocked(
            f"the store {str(root)!r} is being written by {holder(root)}: try again when it has finished, or use --wait"
        ) from None
    except OSError as error:
        raise StoreError(f"the store {str(root)!r} can't be written ({error.strerror}): make it writable") from error
    if (waited := time.monotonic() - started) > SLOW:
        facts = {"store": str(root), "seconds": waited}
        went_wrong("slow lock", "waited %(seconds).1f s for the lock of the store %(store)r", facts)
    return handle, lock


def _is_file_of(root: Path, handle: int) -> bool:
    try:
        there = os.stat(root / LOCK_FILE, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(there, os.fstat(handle))


def holder(root: Path) -> str:
    """A description of the lock's holder from its record; the record is only displayed, so it is not validated."""
    try:
        record = json.loads(read_file(root / HOLDER_FILE, limit=HOLDER_BYTES))
        pid, host, purpose, since = (str(record[name])[:100] for name in ("pid", "host", "purpose", "since"))
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return "another process"
    return f"process {pid} on {host} ({purpose or 'writing'}, since {since})"
