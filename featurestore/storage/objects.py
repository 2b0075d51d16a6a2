"""Objects: the interface to a store's files by their names relative to the store, and its local implementation.

Reading needs two of the interface's five operations (read, put if new, swap if unchanged, list, delete).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from featurestore.errors import IntegrityError, StoreError
from featurestore.files import MEGABYTE, open_file, why
from featurestore.progress import Progress
from featurestore.storage.parts import Part, check_part


class Objects(Protocol):
    """The files of one store."""

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

    def list(self, folder: str) -> Iterator[str]:
        """Yield the names of the files in ``folder`` (not in subfolders), unordered; none if there is no such folder.

        Raises
        ------
        StoreError
            When it can't be read.
        """
        ...


class LocalObjects(Objects, Protocol):
    """The files of one store, whose parts can be opened by their paths on this machine."""

    @property
    def root(self) -> Path:
        """The folder that the paths of the parts are relative to."""
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
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StoreError(
                f"{self.where(folder)} can't be read ({why(error)}): make the store's folder readable"
            ) from error

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
