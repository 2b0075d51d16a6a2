"""Where an image lies: a file, or a member of a file that holds many; reads its bytes from there."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from featurestore.collections.containers import Container, open_container
from featurestore.collections.limits import MAX_BYTES
from featurestore.collections.stored_paths import from_stored
from featurestore.errors import ImageError, InputError
from featurestore.files import read_file


@dataclass(frozen=True)
class ImageAddress:
    """Where an image lies.

    Parameters
    ----------
    path
        The file.
    member
        Empty if the file is the image; else the name of a member or the number of a row in it.
    """

    path: Path
    member: str = ""

    @classmethod
    def of(cls, source: str, file: str, member: str = "") -> "ImageAddress":
        """The address from the columns ``source``, ``file`` and ``member`` of the table `images`."""
        return cls(Path(from_stored(source), from_stored(file)), member)

    def __str__(self) -> str:
        return f"{self.path}#{self.member}" if self.member else str(self.path)

    def read(self, *, pipes: bool = False) -> bytes:
        """The bytes of the image; ``pipes`` tells whether the file may be a pipe.

        Raises
        ------
        ImageError
            When it can't be read.
        """
        if self.member:
            return self._container().read(self.member)
        try:
            return read_file(self.path, limit=MAX_BYTES, pipes=pipes)
        except OSError as error:
            raise ImageError(f"the file can't be read: {error.strerror}") from error

    def _container(self) -> Container:
        try:
            status = os.stat(self.path)
            found = _opened(self.path, status.st_size, status.st_mtime_ns)
        except OSError as error:
            raise ImageError(f"the file can't be read: {error.strerror}") from error
        except InputError as error:
            raise ImageError(str(error)) from error
        if found is None:
            raise ImageError(f"{str(self.path)!r} holds no images any more: run `featurestore ingest` again")
        return found


@lru_cache(maxsize=16)
def _opened(path: Path, size: int, mtime_ns: int) -> Container | None:
    """The container in ``path``, opened once for all of its images while the file does not change."""
    return open_container(path)
