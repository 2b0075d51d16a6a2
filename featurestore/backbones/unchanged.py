"""Refuses files that change between their hash and the end of their load; it hashes and loads nothing itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featurestore.errors import BackboneError

Stamp = tuple[int, int, int, int]


@contextmanager
def unchanged(*places: Path | None) -> Iterator[None]:
    """A block that hashes ``places``, files and folders, and then loads them; what is None or absent is left out.

    They are compared by inode, size and time of modification. Not by the time of a change of the inode: a link to a
    file, as the workers of a cluster get it, sets that.

    Raises
    ------
    BackboneError
        When one of them is another file, or was written, when the block ends.
    """
    before = _stamps(places)
    yield
    after = _stamps(places)
    if before != after:
        changed = sorted(str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        raise BackboneError(f"{changed[0]!r} was changed while it was loaded: load it again")


def _stamps(places: tuple[Path | None, ...]) -> dict[Path, Stamp]:
    return {path: _stamp(path) for place in places if place is not None for path in _files(place)}


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, _, names in os.walk(place):
        yield from (path for path in (Path(folder, name) for name in names) if path.is_file())


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
