"""Objects: the interface to a store's files by their names relative to the store, and its local implementation."""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, TypeVar

from featurestore import system
from featurestore.errors import IntegrityError, StoreError
from featurestore.files import MEGABYTE, atomic_file, make_folder, open_file, why, write_atomic
from featurestore.progress import Progress
from featurestore.storage.names import inside
from featurestore.storage.parts import Part, check_part


class Tag(NamedTuple):
    """What tells one content of a file from another: the ETag, and the version where an object store numbers them."""

    e_tag: str | None
    version: str | None = None


class Entry(NamedTuple):
    """A file in a listing: its size in bytes, and when it was last written, in seconds since 1970 by its own clock."""

    name: str
    size_bytes: int
    time: float


class Objects(Protocol):
    """The files of one store.

    Methods that write raise StoreError when that fails; then it is unknown whether the file was written.
    """

    @property
    def address(self) -> str:
        """The folder or the address, as the user gave it."""
        ...

    def where(self, name: str) -> str:
        """A description of the file ``name`` for messages."""
        ...

    def read(self, name: str, *, limit: int) -> Iterator[bytes]:
        """Yield the bytes of the file ``name`` in blocks.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        IntegrityError
            When it has more than ``limit`` bytes.
        StoreError
            When it can't be read.
        """
        ...

    def load(self, name: str, *, limit: int) -> tuple[bytes, Tag]:
        """The bytes of the file ``name``, and the tag of exactly these bytes; raises as `read`."""
        ...

    def put(self, name: str, file: Path) -> None:
        """Write the bytes of the local ``file`` as ``name``, also where there is one: its age starts anew."""
        ...

    def swap(self, name: str, content: bytes, tag: Tag | None) -> Tag | None:
        """Write ``content`` as ``name`` if the file there has the ``tag``, or for None if there is none.

        In a folder the caller must hold the lock of the store.

        Returns the tag of what was written; None if the file there is another one, and nothing was written.
        """
        ...

    def delete(self, names: Sequence[str]) -> None:
        """Remove those of the files ``names`` that there are."""
        ...

    def list(self, folder: str) -> Iterator[str]:
        """Yield the names of the files in ``folder`` (not in subfolders), unordered; none if there is no such folder.

        Raises
        ------
        StoreError
            When it can't be read.
        """
        ...

    def entries(self, folder: str = "") -> Iterator[Entry]:
        """Yield each file in and below ``folder``, unordered; raises as `list`."""
        ...

    def entry(self, name: str) -> Entry | None:
        """The file ``name`` as in a listing; None if there is none. Raises as `list`."""
        ...


class LocalObjects(Objects, Protocol):
    """The files of one store, whose parts can be opened by their paths on this machine."""

    @property
    def root(self) -> Path:
        """The folder that the paths of the parts are relative to."""
        ...

    @property
    def in_place(self) -> bool:
        """Whether the files below ``root`` are the store itself, which writers lock; else they are copies."""
        ...

    def send(self, names: Sequence[str]) -> None:
        """Make the immutable files ``names`` below ``root`` files of the store, if they are not; raises as `put`."""
        ...

    def mirror(self, folder: str) -> None:
        """Copy each part in ``folder`` and below to ``root``, unless it is there; what is copied is not verified."""
        ...

    def fetch(
        self, parts: Sequence[Part], *, recheck: bool = False, on_progress: Progress | None = None
    ) -> dict[str, str]:
        """Make sure that ``parts`` are below ``root``, fetching them if necessary.

        Parameters
        ----------
        recheck
            Verify the checksum of each part, even if it was verified before.

        Returns
        -------
        dict
            The parts that are missing or damaged, by path, each with the reason.

        Raises
        ------
        StoreError
            When the source can't be read.
        """
        ...


Kind = TypeVar("Kind", bound=Objects)
# A store: its folder, or its files.
Place = Path | LocalObjects


@dataclass(frozen=True)
class Folder:
    """The files of the store in the folder ``root``."""

    root: Path

    @property
    def in_place(self) -> bool:
        """True."""
        return True

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def where(self, name: str) -> str:
        """The path of the file."""
        return str(self.root / name)

    def read(self, name: str, *, limit: int) -> Iterator[bytes]:
        """See `Objects.read`."""
        path = self.root / name
        try:
            with open_file(path) as file:
                yield from limited(iter(lambda: file.read(MEGABYTE), b""), str(path), limit=limit)
        except NotADirectoryError as error:
            raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError(f"{path} can't be read ({error.strerror}): make the store's folder readable") from error

    def list(self, folder: str) -> Iterator[str]:
        """See `Objects.list`."""
        try:
            with os.scandir(self.root / folder) as entries:
                yield from (f"{folder}/{entry.name}" for entry in entries if not entry.is_dir())
        except OSError as error:
            _refuse(error)

    def load(self, name: str, *, limit: int) -> tuple[bytes, Tag]:
        """See `Objects.load`."""
        content = b"".join(self.read(name, limit=limit))
        return content, _tag_of(content)

    def put(self, name: str, file: Path) -> None:
        """See `Objects.put`."""
        with self._writing(name) as path, open_file(file) as source, atomic_file(path) as target:
            shutil.copyfileobj(source, target, MEGABYTE)

    def swap(self, name: str, content: bytes, tag: Tag | None) -> Tag | None:
        """See `Objects.swap`; the tag is a hash of the bytes."""
        there = None
        with suppress(FileNotFoundError):
            there = self.load(name, limit=sys.maxsize)[1]
        if there != tag:
            return None
        with self._writing(name) as path:
            write_atomic(path, content)
        return _tag_of(content)

    def delete(self, names: Sequence[str]) -> None:
        """See `Objects.delete`."""
        for name in names:
            with self._writing(name) as path:
                system.remove(path)

    def entries(self, folder: str = "") -> Iterator[Entry]:
        """See `Objects.entries`."""
        for place, _, names in os.walk(self.root / folder, onerror=_refuse):
            for name in names:
                path = Path(place, name)
                with suppress(FileNotFoundError):  # removed meanwhile
                    status = path.lstat()
                    yield Entry(path.relative_to(self.root).as_posix(), status.st_size, status.st_mtime)

    def entry(self, name: str) -> Entry | None:
        """See `Objects.entry`."""
        try:
            status = (self.root / name).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Entry(name, status.st_size, status.st_mtime)

    def send(self, names: Sequence[str]) -> None:
        """See `LocalObjects.send`; they are in place."""

    def mirror(self, folder: str) -> None:
        """See `LocalObjects.mirror`; they are in place."""

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        """The path of the file ``name`` in the store, whose folder is made; an OSError becomes one sentence."""
        path = inside(self.root, (self.root / name).parent) / PurePosixPath(name).name
        try:
            make_folder(path.parent)
            yield path
        except OSError as error:
            raise StoreError(f"{path} can't be written ({why(error)}): make the store's folder writable") from error

    def fetch(
        self, parts: Sequence[Part], *, recheck: bool = False, on_progress: Progress | None = None
    ) -> dict[str, str]:
        """See `LocalObjects.fetch`; nothing needs to be fetched."""
        damaged = {}
        for done, part in enumerate(parts if recheck else (), 1):
            try:
                check_part(part, self.root)
            except (IntegrityError, OSError) as error:
                damaged[part.path] = str(error)
            if on_progress:
                on_progress(done, len(parts))
        return damaged


def _tag_of(content: bytes) -> Tag:
    return Tag(hashlib.sha256(content).hexdigest())


def _refuse(error: OSError) -> None:
    """Raise, unless there is no folder: a listing that lacks files must not be taken for all of them."""
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise StoreError(f"{error.filename} can't be read ({why(error)}): make the store's folder readable") from error


def objects_of(place: "Path | Kind") -> "Folder | Kind":
    """``place`` itself, or for a path the files of the store in that folder."""
    return Folder(place) if isinstance(place, Path) else place


def limited(blocks: Iterable[bytes], where: str, *, limit: int) -> Iterator[bytes]:
    """Yield the ``blocks`` of the file ``where``, at most ``limit`` bytes.

    Raises
    ------
    IntegrityError
        When there are more bytes.
    """
    total = 0
    for block in blocks:
        total += len(block)
        if total > limit:
            raise IntegrityError(
                f"{where} has more than {limit:,} bytes, so this package did not write it: copy the store again"
            )
        yield block
