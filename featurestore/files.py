"""Files and folders: bounded reads that never block, atomic writes, hashes, and the suffixes of formats."""

import errno
import hashlib
import itertools
import json
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from featurestore import system
from featurestore.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from io import BufferedReader

MEGABYTE = 1 << 20
SYNCED_AT_ONCE = 8
# How many seconds to wait for a writer of a named pipe.
PIPE_SECONDS, PAUSE = 3.0, 0.02
# A format and the endings of its files, the usual one first; without any, the format is a folder.
Suffixes = Mapping[str, Sequence[str]]
PAGE: Suffixes = {"html": (".html", ".htm")}


def open_file(path: Path) -> "BufferedReader":
    """Open ``path`` for reading, if it is a regular file.

    Raises
    ------
    OSError
        When it can't be opened, or is a folder, pipe, socket or device; these are neither waited for nor read.
    """
    return open(_descriptor(path, pipes=False), "rb")


def read_file(path: Path, *, limit: int, pipes: bool = False) -> bytes:
    """Read the bytes of ``path``, at most ``limit``.

    Parameters
    ----------
    pipes
        Whether ``path`` may be a pipe, as a user can name one; a path from a store never is.

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
        wanted = min(status.st_size + 1, left)  # a regular file is read in one block
        while left > 0 and status.st_size <= limit:
            blocks.append(file.read(wanted))
            left -= len(blocks[-1])
            if len(blocks[-1]) < wanted:
                return b"".join(blocks)
            wanted = min(MEGABYTE, left)
    raise OSError(errno.EFBIG, f"more than the limit of {limit:,} bytes", str(path))


def json_object(text: object, what: str) -> dict[str, Any]:
    """The JSON object in a field of a table, which may be a stranger's; ``what`` names the field.

    Raises
    ------
    IntegrityError
        When it holds anything else.
    """
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    raise IntegrityError(f"{what} is damaged: it is {str(text)[:60]!r}, expected a JSON object")


def why(error: Exception) -> str:
    """The reason of a file error, without the file's name."""
    return str(getattr(error, "strerror", None) or error)


def refuse_target(path: Path) -> None:
    """Refuse to write to a path that is not a regular file: an atomic write would replace it.

    Raises
    ------
    InputError
        When ``path`` is a folder, pipe, socket or device.
    """
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder: name a file")
    if path.exists() and not path.is_file():
        raise InputError(f"{str(path)!r} is a pipe, socket or device: name a file")


def format_of(path: Path, form: str | None, suffixes: Suffixes) -> str:
    """The format to write to ``path``: ``form`` where it is given, else by the ending, else the first of ``suffixes``.

    Raises
    ------
    InputError
        When the ending is that of another format than ``form``, or of none. A name without one fits every format.
    """
    name = path.name.lower()
    promised = [one for one, endings in suffixes.items() if name.endswith(tuple(endings))]
    is_folder = form is not None and not suffixes[form]
    fits = form in (None, *promised) if promised else not path.suffix or is_folder
    if fits:
        return form or next(iter(promised or suffixes))
    known = " or ".join(dict.fromkeys(ending for endings in suffixes.values() for ending in endings[:1]))
    if form is None:
        raise InputError(f"got {str(path)!r}, expected a name that ends with {known}")
    expected = f"a name that ends with {suffixes[form][0]}" if suffixes[form] else "the name of a folder"
    raise InputError(f"got {str(path)!r} for the format {form}, expected {expected}; the endings are {known}")


def _descriptor(path: Path, *, pipes: bool) -> int:
    _check_kind(os.stat(path).st_mode, path, pipes=pipes)  # opening a device may have side effects
    descriptor = os.open(path, os.O_RDONLY | system.BINARY | system.WITHOUT_WAITING)
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
    """The first bytes of a pipe, once it has a writer; empty if nothing was written yet. Later reads block."""
    for _ in range(round(PIPE_SECONDS / PAUSE)):
        try:
            first = os.read(descriptor, MEGABYTE)
            written = bool(first)
        except BlockingIOError:
            first, written = b"", True
        if written:
            if system.WITHOUT_WAITING:  # else it blocks already
                os.set_blocking(descriptor, True)
            return first
        time.sleep(PAUSE)
    raise OSError(errno.EPIPE, f"a pipe that nothing writes to for {PIPE_SECONDS:.0f} seconds", str(path))


def file_hash(path: Path) -> str:
    """SHA-256 of the bytes of ``path``, 64 hex digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(place: Path) -> str:
    """SHA-256 of a file, or of the names and bytes of all files in a folder and below; 64 hex digits.

    In a folder, names that begin with a dot and links to folders are left out. Raises OSError when something in it
    can't be read, or is a pipe, socket or device.
    """
    if not place.is_dir():
        return file_hash(place)
    total = hashlib.sha256()
    for folder, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in sorted(Path(folder, name) for name in names if not name.startswith(".")):
            name = path.relative_to(place).as_posix().encode("utf-8", "surrogateescape")
            total.update(b"%d %s %s\n" % (len(name), name, file_hash(path).encode()))
    return total.hexdigest()


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Open a temporary binary file, which is renamed to ``path`` when the block ends without an error.

    After a crash too, readers see either the old file or the new one; when the block has ended, the new one is on disk.
    The folder must exist: see `make_folder`.

    Parameters
    ----------
    sync
        False for a file that may be lost, or be empty, after a power cut: then nothing waits for the disk.
    """
    with _renamed(path, sync=sync) as file:
        yield file
    if sync:
        system.sync_folder(path.parent)


def write_atomic(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write ``content`` to ``path`` as `atomic_file` does."""
    with atomic_file(path, sync=sync) as file:
        file.write(content)


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into ``folder`` by their names; when it returns, all are on disk, each whole before it has its name.

    They are synced at once: a file system answers several that wait for it in the time of one.
    """

    def write(name: str) -> None:
        with _renamed(folder / name, sync=True) as file:
            file.write(contents[name])

    if len(contents) == 1:
        write(*contents)
    elif contents:
        with ThreadPoolExecutor(min(len(contents), SYNCED_AT_ONCE)) as pool:
            list(pool.map(write, contents))
    if contents:
        system.sync_folder(folder)


@contextmanager
def _renamed(path: Path, *, sync: bool) -> Iterator[IO[bytes]]:
    """`atomic_file`, but the new name itself may not be on disk yet."""
    temporary = _beside(path, "new")
    try:
        with temporary.open("xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        system.replace(temporary, path)
    finally:
        with suppress(OSError):  # already renamed, or never created
            temporary.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Create a temporary folder, which replaces ``path`` when the block ends without an error.

    An existing folder is then removed with all its content; the caller must check that this is allowed. After an error
    or an interrupt it is unchanged. Missing parents are created. When the block has ended, its files are on disk.
    """
    path = Path(os.path.realpath(path))  # a symbolic link stays, its target is replaced
    building, earlier = _beside(path, "new"), _beside(path, "old")
    try:
        make_folder(building)
        yield building
        _sync_tree(building)
        if path.exists():
            system.replace(path, earlier)
        system.replace(building, path)
        system.sync_folder(path.parent)
    finally:
        if earlier.exists() and not path.exists():
            system.replace(earlier, path)
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)


def make_folder(path: Path, *, parents: bool = True) -> None:
    """Create ``path`` and its missing ``parents``, and fsync the parent folders; an existing folder is not changed."""
    missing = list(itertools.takewhile(lambda folder: not folder.exists(), (path, *path.parents)))
    path.mkdir(parents=parents, exist_ok=True)
    for folder in reversed(missing):
        system.sync_folder(folder.parent)


def _beside(path: Path, kind: str) -> Path:
    """A hidden name in the folder of ``path`` that no other process uses, on this machine or on another.

    The name of ``path`` in it is truncated, since the whole must stay below 256 bytes.
    """
    return path.with_name(f".{path.name[:40]}.{kind}.{uuid.uuid4().hex}.{os.getpid()}.tmp")


def _sync_tree(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            system.sync_file(Path(place, name))
        system.sync_folder(Path(place))
