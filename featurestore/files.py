"""Files: read within a limit, so that what only looks like one never blocks; written whole or not at all; hashed."""

import errno
import hashlib
import itertools
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from featurestore.errors import InputError

if TYPE_CHECKING:
    from io import BufferedReader

MEGABYTE = 1 << 20
# How long a named pipe may have nobody at its other end.
PIPE_SECONDS, PAUSE = 3.0, 0.02


def open_file(path: Path) -> "BufferedReader":
    """``path`` for reading, if it is a regular file.

    Raises
    ------
    OSError
        When it can't be opened, or is a folder, pipe, socket or device: that is not waited for, nor is it read.
    """
    return open(_descriptor(path, pipes=False), "rb")


def read_file(path: Path, *, limit: int, pipes: bool = False) -> bytes:
    """The bytes of ``path``, at most ``limit``.

    Parameters
    ----------
    pipes
        Also read a pipe, as a user may name one; what a store names is never one.

    Raises
    ------
    OSError
        As `open_file`; when there are more bytes; when nothing writes to the pipe.
    """
    descriptor = _descriptor(path, pipes=pipes)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        blocks = [_first(descriptor, path)] if stat.S_ISFIFO(status.st_mode) else []
        left = limit + 1 - sum(map(len, blocks))
        wanted = min(status.st_size + 1, left)  # a regular file comes in one block
        while left > 0 and status.st_size <= limit:
            blocks.append(file.read(wanted))
            left -= len(blocks[-1])
            if len(blocks[-1]) < wanted:
                return b"".join(blocks)
            wanted = min(MEGABYTE, left)
    raise OSError(errno.EFBIG, f"more than the limit of {limit:,} bytes", str(path))


def why(error: Exception) -> str:
    """What is wrong with a file, without its name again."""
    return str(getattr(error, "strerror", None) or error)


def refuse_target(path: Path) -> None:
    """Refuse to write where something else than a file is: a new file would take its place.

    Raises
    ------
    InputError
        With what to do.
    """
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder: name a file")
    if path.exists() and not path.is_file():
        raise InputError(f"{str(path)!r} is a pipe, socket or device: name a file")


def _descriptor(path: Path, *, pipes: bool) -> int:
    _check_kind(os.stat(path).st_mode, path, pipes=pipes)  # opening a device may already do something
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check_kind(os.fstat(descriptor).st_mode, path, pipes=pipes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(mode: int, path: Path, *, pipes: bool) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", str(path))
    if not (stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode))):
        raise OSError(errno.EINVAL, "a pipe, socket or device, not a file", str(path))


def _first(descriptor: int, path: Path) -> bytes:
    """The first bytes of a pipe, none where its writer has it open only; from then on reading waits for the writer."""
    for _ in range(round(PIPE_SECONDS / PAUSE)):
        try:
            first = os.read(descriptor, MEGABYTE)
            written = bool(first)
        except BlockingIOError:
            first, written = b"", True
        if written:
            os.set_blocking(descriptor, True)
            return first
        time.sleep(PAUSE)
    raise OSError(errno.EPIPE, f"a pipe that nothing writes to for {PIPE_SECONDS:.0f} seconds", str(path))


def file_hash(path: Path) -> str:
    """SHA-256 of the bytes of ``path``, 64 hex digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a reader, or a crash, sees the old bytes or the new, never a mix."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make ``path`` and its missing parents, and write their names to disk; a folder that is there stays as it is."""
    missing = list(itertools.takewhile(lambda folder: not folder.exists(), (path, *path.parents)))
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
