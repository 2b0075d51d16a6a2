"""Reads images in a tar archive, WebDataset's shards among them: offsets are kept, and nothing is ever unpacked."""

import os
import struct
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from featurestore.collections.containers.base import DAMAGED, ContainerRows
from featurestore.collections.containers.names import clean_name, unique_names
from featurestore.collections.containers.sidecars import SIDECARS, Place, Sample, sidecar_columns
from featurestore.collections.formats import SUFFIXES
from featurestore.collections.limits import MAX_BYTES, MAX_MEMBERS
from featurestore.errors import ImageError, InputError, reason
from featurestore.files import MEGABYTE, open_file, why
from featurestore.system import read_at

BLOCK = tarfile.BLOCKSIZE
BROKEN = (tarfile.TarError, struct.error, IndexError, RecursionError, *DAMAGED)


@dataclass
class _TarIndex:
    """The images of a tar in file order: raw name, place and the sample that each is of; and what was left out."""

    names: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    # The newest sample of each key.
    newest: dict[str, Sample] = field(default_factory=dict)


class TarContainer:
    """An uncompressed tar; the member of an image is its name. See `Container`."""

    def __init__(self, path: Path, index: _TarIndex) -> None:
        self.path = path
        self._index = index
        cleaned = [clean_name(name) or "unnamed" for name in index.names]
        self._names, self._renamed = unique_names(cleaned)
        self._places = dict(zip(self._names, index.places, strict=True))

    def rows(self) -> ContainerRows:
        """See `Container.rows`."""
        notes = list(self._index.notes)
        if self._renamed:
            notes.append(f"{self._renamed:,} images have the name of an earlier one: they are named NAME~2 and so on")
        if self._index.left:
            counts = ", ".join(f"{count:,} {what}" for what, count in self._index.left.most_common(8))
            notes.append(f"members of the tar that are left out: {counts}")
        try:
            with open_file(self.path) as file:
                columns, said = sidecar_columns(file.fileno(), self._index.samples)
        except OSError as error:
            raise InputError(f"the tar {str(self.path)!r} can't be read: {why(error)}") from error
        return ContainerRows(list(self._names), list(self._names), columns, (*notes, *said))

    def read(self, member: str) -> bytes:
        """See `Container.read`."""
        place = self._places.get(member)
        if place is None:
            raise ImageError(f"the tar has no image {member!r}: the file has changed")
        return self._read(place)

    def read_all(self) -> Iterator[tuple[str, bytes | ImageError]]:
        """See `Container.read_all`."""
        for name, place in self._places.items():
            try:
                yield name, self._read(place)
            except ImageError as error:
                yield name, error

    def _read(self, place: Place) -> bytes:
        if place.size > MAX_BYTES:
            raise ImageError(f"more than the limit of {MAX_BYTES:,} bytes")
        try:
            with open_file(self.path) as file:
                content = place.read(file.fileno())
        except OSError as error:
            raise ImageError(f"the tar can't be read: {why(error)}") from error
        if len(content) < place.size:
            raise ImageError("the tar ends within the image: it has changed")
        return content


def is_tar(start: bytes) -> bool:
    """Whether a file that begins with the 512 bytes ``start`` is an uncompressed tar with a member."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except BROKEN:
        return False
    return True


def open_tar(path: Path) -> TarContainer | None:
    """The container in a tar; None when it holds no image.

    Raises
    ------
    InputError
        When it can't be read, or has more than `MAX_MEMBERS` members.
    """
    index = _TarIndex()
    try:
        with open_file(path) as file:
            _scan(file, path, index)
    except OSError as error:
        raise InputError(f"the tar {str(path)!r} can't be read: {why(error)}") from error
    return TarContainer(path, index) if index.names else None


def _scan(file: IO[bytes], path: Path, index: _TarIndex) -> None:
    """Fill ``index`` with the members of the open tar ``file``; a note says where it is damaged."""
    size = os.fstat(file.fileno()).st_size
    position, damage = 0, ""
    try:
        # Its type asks for more than `tarfile` uses.
        headers = cast(IO[bytes], _Headers(file))
        archive = tarfile.TarFile(fileobj=headers, encoding="utf-8", errors="surrogateescape")
        count = 0
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # else it keeps every one
            count += 1
            if count > MAX_MEMBERS:
                raise InputError(f"the tar {str(path)!r} has more than {MAX_MEMBERS:,} members: split it")
            if member.size < 0 or member.offset_data + member.size > size:
                damage = "is truncated"
                break
            _add(member, index)
            position = member.offset_data + member.size
        else:
            # tarfile ends in silence at a block that is no header.
            end = read_at(file.fileno(), BLOCK, archive.offset)
            damage = "" if end == bytes(BLOCK) else "is truncated or damaged"
            rest = size - archive.offset
            if not damage and rest > MEGABYTE:  # tar fills its last record with zeros
                index.notes.append(f"the {rest:,} bytes behind the end of the tar are not read: it may be two in one")
    except BROKEN as error:
        damage = f"is damaged ({reason(error)})"
    if damage:
        index.notes.append(f"the tar {damage} after byte {position:,}: the {len(index.names):,} images before are used")


def _add(member: tarfile.TarInfo, index: _TarIndex) -> None:
    """Put one member of a tar into ``index``."""
    folder, _, last = member.name.rpartition("/")
    suffix = os.path.splitext(last)[1].lower()
    if member.isdir():
        return
    if not member.isreg() or getattr(member, "sparse", None):
        index.left["links, devices or sparse files"] += 1
        return
    if last.startswith("._") or not (suffix in SUFFIXES or suffix in SIDECARS):
        index.left["other files"] += 1
        return
    stem, _, ending = last.partition(".")
    key = f"{folder}/{stem}"
    sample = index.newest.get(key)
    # The same member again is one of another sample: shards were joined.
    if sample is None or ending in sample:
        sample = index.newest[key] = {}
    place = sample[ending] = Place(member.offset_data, member.size)
    if suffix in SUFFIXES:
        index.names.append(member.name)
        index.places.append(place)
        index.samples.append(sample)


class _Headers:
    """What `tarfile` reads headers from: refuses long ones, and to go back, which would never end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, at most a megabyte."""
        if not 0 <= size <= MEGABYTE:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        return self._file.read(size)

    def seek(self, position: int) -> int:
        """Go to ``position``, which must lie ahead."""
        if position < self._file.tell():
            raise tarfile.ReadError("a member that begins before the last one ends")
        return self._file.seek(position)

    def tell(self) -> int:
        """The present position in bytes."""
        return self._file.tell()
