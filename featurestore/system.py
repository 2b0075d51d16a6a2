"""What operating systems do differently, each difference in one place; the code above asks no system for its name.

On Windows a folder can't be opened or synced, a file that somebody has open can't be replaced or removed, and only a
file that is open for writing can be synced; flags, owners, permissions and reading at an offset are missing there.
"""

import os
import re
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

WINDOWS = os.name == "nt"
# 0 where the system knows no such flag. Windows would change line ends of what is read without O_BINARY.
BINARY, NOFOLLOW = getattr(os, "O_BINARY", 0), getattr(os, "O_NOFOLLOW", 0)
WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
# How many seconds to wait on Windows until a reader has closed a file that is to be replaced or removed.
PATIENCE, PAUSE = 2.0, 0.02
# Names that no file can have on Windows, whatever follows after a dot.
RESERVED_NAME = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)

_positions = threading.Lock()


def is_portable(name: str) -> bool:
    """Whether a file or folder can be called ``name``, an ASCII name without slashes, on each system.

    >>> is_portable("notes"), is_portable("nul.json"), is_portable("ends.")
    (True, False, False)
    """
    return not (RESERVED_NAME.fullmatch(name) or name.endswith((".", " ")) or re.search(r'[<>:"|?*\\]', name))


def sync_file(path: Path) -> None:
    """Have the bytes of the file ``path``, which somebody else has written, written to disk."""
    descriptor = os.open(path, (os.O_RDWR if WINDOWS else os.O_RDONLY) | BINARY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have renames in ``folder`` survive a power failure; on Windows, where a folder can't be synced, do nothing."""
    if WINDOWS:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(source: Path, target: Path) -> None:
    """Rename ``source`` to ``target``, in place of what is there; on Windows, once its readers have closed it.

    Raises
    ------
    OSError
        When that is refused; on Windows also while another process keeps ``target`` open.
    """
    _patiently(lambda: os.replace(source, target))


def remove(path: Path) -> None:
    """Remove the file ``path`` if it is there; on Windows, once its readers have closed it; raises as `replace`."""
    _patiently(lambda: path.unlink(missing_ok=True))


def remove_unless_open(path: Path) -> bool:
    """Remove the file ``path`` if it is there; False if it is left, because on Windows somebody has it open.

    Raises
    ------
    OSError
        When that is refused for another reason.
    """
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        if not WINDOWS:
            raise
        return False
    return True


def _patiently(change: Callable[[], None]) -> None:
    """Make a change, on Windows again and again for a while where it is refused."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return change()
        except PermissionError:
            if not WINDOWS or time.monotonic() >= until:
                raise
        time.sleep(PAUSE)


def read_at(descriptor: int, count: int, offset: int) -> bytes:
    """At most ``count`` bytes of an open file from ``offset`` on; any number of threads may share the descriptor."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    with _positions:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, count)


class HeldFolder:
    """Tells whether ``folder`` is still the one that it was: it may be removed, and another one put in its place."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # While it is open its inode is not used again; NTFS uses no number twice.
        self._open = None if WINDOWS else os.open(folder, os.O_RDONLY)
        self._was = os.stat(folder if self._open is None else self._open)

    def is_there(self) -> bool:
        """Whether it is; raises FileNotFoundError or NotADirectoryError where there is none."""
        return os.path.samestat(os.stat(self._folder), self._was)

    def close(self) -> None:
        """Let go of the folder."""
        if self._open is not None:
            os.close(self._open)
            self._open = None


def for_owner_alone(descriptor: int) -> None:
    """Let nobody else read an open file; on Windows the folder of the person's settings does that already."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)


def is_owners_alone(status: os.stat_result) -> bool:
    """Whether a file or folder is this person's, and nobody else's; on Windows it isn't looked at."""
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077


def cores() -> int:
    """The number of processors that this process may use."""
    with suppress(AttributeError, OSError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
