"""Objects: the seam to where the files of a store lie, each under its name below the store; and that of a folder.

Of the five verbs of this seam (read, put if new, swap if unchanged, list, delete) reading needs two.
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
        """The folder, or the address, as the user knows it."""
        ...

    def where(self, name: str) -> str:
        """What a message calls the file ``name``."""
        ...

    def read(self, name: str, *, limit: int) -> Iterator[bytes]:
        """The bytes of the file ``name``, in blocks.

        Raises
        ------
        FileNotFoundError
            When there is none.
        IntegrityError
            When it has more than ``limit`` bytes.
        StoreError
            When it can't be read.
        """
        ...

    def list(self, folder: str) -> Iterator[str]:
        """The names of the files in ``folder`` itself, in no order; none where there is no such folder.

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

    def bring(
        self, parts: Sequence[Part], *, recheck: bool = False, on_progress: Progress | None = None
    ) -> dict[str, str]:
        """See to it that ``parts`` lie below ``root``.

        Parameters
        ----------
        recheck
            Compare each with its checksum, also one that was compared before.

        Returns
        -------
        dict
            The parts that are missing or damaged, by path, each with why.

        Raises
        ------
        StoreError
            When the place where they come from can't be read.
        """
        ...


Kind = TypeVar("Kind", bound=Objects)


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

    def bring(
        self, parts: Sequence[Part], *, recheck: bool = False, on_progress: Progress | None = None
    ) -> dict[str, str]:
        """See `LocalObjects.bring`; the parts are there, if at all."""
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
    """``place``; of a path, the files of the store in that folder."""
    return Folder(place) if isinstance(place, Path) else place


def limited(blocks: Iterable[bytes], where: str, *, limit: int) -> Iterator[bytes]:
    """``blocks`` of the file ``where``, at most ``limit`` bytes.

    Raises
    ------
    IntegrityError
        When there are more.
    """
    total = 0
    for block in blocks:
        total += len(block)
        if total > limit:
            raise IntegrityError(
                f"{where} has more than {limit:,} bytes, no store of this package wrote it: copy the store again, whole"
            )
        yield block
