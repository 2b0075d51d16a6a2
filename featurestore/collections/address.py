"""Where an image lies: a file, a member of a file that holds many, or an object; reads its bytes from there."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from featurestore.collections.containers import Container, open_container
from featurestore.collections.limits import MAX_BYTES
from featurestore.collections.object_folder import ObjectFolder, stored_source
from featurestore.collections.stored_paths import from_stored
from featurestore.errors import ImageError, InputError
from featurestore.files import read_file
from featurestore.storage.remote import is_remote


@dataclass(frozen=True)
class ObjectPath:
    """Where an image lies on an object store: the folder, and the key of the object below it."""

    folder: ObjectFolder
    key: str

    def __str__(self) -> str:
        return self.folder.where(self.key)


@dataclass(frozen=True)
class ImageAddress:
    """Where an image lies.

    Parameters
    ----------
    path
        The file, or the object on an object store.
    member
        Empty if the file is the image; else the name of a member or the number of a row in it.
    """

    path: Path | ObjectPath
    member: str = ""

    @classmethod
    def of(cls, source: str, file: str, member: str = "") -> "ImageAddress":
        """The address from the columns ``source``, ``file`` and ``member`` of the table `images`."""
        place = stored_source(source)
        if isinstance(place, ObjectFolder):
            return cls(ObjectPath(place, file), member)
        return cls(place / from_stored(file), member)

    @classmethod
    def at(cls, place: str | Path) -> "ImageAddress":
        """The image that a user has named: a file, or the address of an object."""
        if isinstance(place, str) and is_remote(place):
            return cls(ObjectPath(*ObjectFolder.of_object(place)))
        return cls(Path(place))

    def __str__(self) -> str:
        return f"{self.path}#{self.member}" if self.member else str(self.path)

    def read(self, *, pipes: bool = False) -> bytes:
        """The bytes of the image; ``pipes`` tells whether the file may be a pipe.

        Raises
        ------
        ImageError
            When it can't be read.
        StoreError
            When it lies on an object store that can't be reached.
        """
        if isinstance(self.path, ObjectPath):
            if self.member:
                raise ImageError("it is a member of an object, and such files are only read from a folder")
            return self.path.folder.read(self.path.key)
        if self.member:
            return _container(self.path).read(self.member)
        try:
            return read_file(self.path, limit=MAX_BYTES, pipes=pipes)
        except OSError as error:
            raise ImageError(f"the file can't be read: {error.strerror}") from error


def _container(path: Path) -> Container:
    try:
        status = os.stat(path)
        found = _opened(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ImageError(f"the file can't be read: {error.strerror}") from error
    except InputError as error:
        raise ImageError(str(error)) from error
    if found is None:
        raise ImageError(f"{str(path)!r} holds no images any more: run `featurestore ingest` again")
    return found


@lru_cache(maxsize=16)
def _opened(path: Path, size: int, mtime_ns: int) -> Container | None:
    """The container in ``path``, opened once for all of its images while the file does not change."""
    return open_container(path)
