"""A folder of images on an object store: its address, what is in it, the bytes of each object; it copies nothing."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

from featurestore.collections.limits import MAX_BYTES
from featurestore.collections.services import allow, check
from featurestore.collections.stored_paths import from_stored
from featurestore.errors import ImageError, ImageUnread, InputError, IntegrityError
from featurestore.storage.bucket import Bucket, ListedObject
from featurestore.storage.remote import is_remote

# Threads that read objects, at least and for each core: they mostly wait for answers. Each can hold `MAX_BYTES`.
READERS, READERS_PER_CORE = 16, 4
# Addresses of places that are no object store.
OTHER_SCHEMES = ("file", "http", "https", "memory")
# Fields of a fingerprint are stored with 64 bits; a server can send any number.
LARGEST = (1 << 63) - 1


class ObjectEntry(NamedTuple):
    """An object in a listing: its key below the folder, and the fields of `fingerprints.FINGERPRINT`."""

    key: str
    mark: tuple[int, int, int, int]


@dataclass(frozen=True)
class ObjectFolder:
    """The objects whose keys begin with the path of ``address``, such as ``s3://BUCKET/PATH?region=…``."""

    address: str

    @classmethod
    def of(cls, address: str) -> "ObjectFolder":
        """The folder that a user has named, whose service may be asked from now on; no request is sent.

        Raises
        ------
        InputError
            When it is not the address of a folder on an object store.
        """
        url = _split(address)
        allow(address)
        names = "".join(f"/{quote(unquote(name))}" for name in url.path.split("/") if name)
        return cls(f"{url.scheme}://{url.netloc}{names}" + (f"?{url.query}" if url.query else ""))

    @classmethod
    def of_object(cls, address: str) -> tuple["ObjectFolder", str]:
        """The folder and the key of one object that a user has named; raises as `of`."""
        url = _split(cls.of(address).address)
        path, _, name = url.path.rpartition("/")
        return cls(urlunsplit(url._replace(path=path))), unquote(name)

    def __str__(self) -> str:
        return self.address

    @property
    def parts(self) -> tuple[str, ...]:
        """The service, the bucket and the folders below it, as `Path.parts`."""
        url = _split(self.address)
        folders = [unquote(name) for name in url.path.split("/") if name]
        return (f"{url.scheme}:{url.query}", url.netloc, *folders)

    def lies_in(self, other: "ObjectFolder") -> bool:
        """Whether ``other`` is a folder above this one."""
        return self != other and self.parts[: len(other.parts)] == other.parts

    def entries(self) -> Iterator[ObjectEntry]:
        """Everything in the folder and below, unordered; it is listed by pages.

        Raises
        ------
        StoreError
            When it can't be listed: the address is wrong, there is no such bucket or no permission.
        MissingExtra
            When obstore is not installed.
        """
        for item in _bucket(self.address).everything():
            yield ObjectEntry(item.name, _mark(item))

    def where(self, key: str) -> str:
        """The address of the object ``key``."""
        url = _split(self.address)
        return urlunsplit(url._replace(path=f"{url.path}/{quote(key)}"))

    def read(self, key: str) -> bytes:
        """The bytes of the object ``key``.

        Raises
        ------
        ImageError
            When there is no such object, or it is too large.
        AccessDenied
            When there is no permission to read it.
        StoreError
            When the object store can't be reached: this is not a property of the image.
        """
        try:
            return b"".join(_bucket(self.address, patient=True).read(key, limit=MAX_BYTES))
        except FileNotFoundError as error:
            raise ImageUnread("there is no such object") from error
        except IntegrityError as error:
            raise too_large() from error


# Where images lie: a folder, a file that holds many, or a folder on an object store.
Source = Path | ObjectFolder


def too_large() -> ImageError:
    """What is said of an object with more than `MAX_BYTES` bytes."""
    return ImageError(f"the object has more than the limit of {MAX_BYTES:,} bytes")


def source_of(place: str | Path) -> Source:
    """The source that a user has named: a path, or a folder on an object store."""
    return ObjectFolder.of(place) if isinstance(place, str) and is_remote(place) else Path(place)


def resolved(source: Source) -> Source:
    """A source by which it is known: an absolute path without links."""
    return source if isinstance(source, ObjectFolder) else Path(os.path.realpath(source))


def stored_source(text: str) -> Source:
    """The source whose text a store holds: a path is absolute there, so that an address can be told from it."""
    return ObjectFolder(text) if is_remote(text) and not text.startswith("/") else Path(from_stored(text))


def readers(sources: Iterable[Source]) -> int:
    """The number of threads that read images from ``sources``."""
    cores = os.cpu_count() or 1
    remote = any(isinstance(source, ObjectFolder) for source in sources)
    return max(READERS, READERS_PER_CORE * cores) if remote else cores


def _split(address: str) -> SplitResult:
    """The parts of an address; refuses what is none on an object store."""
    try:
        url = urlsplit(address)
    except ValueError:
        url = SplitResult("", "", "", "", "")
    if not url.netloc or url.fragment or url.scheme in OTHER_SCHEMES or not address.isprintable():
        got = "an address with keys" if "@" in address else repr(address)  # which would appear in messages
        raise InputError(
            f"got {got} as a folder of images, expected a path, or an address on an object store such as "
            "s3://BUCKET/PATH (with %23 for #): name one of them"
        )
    return url


@lru_cache(maxsize=16)
def _bucket(address: str, *, patient: bool = False) -> Bucket:
    """The connections to one address, shared by all threads; a listing, which comes first, fails sooner than a read."""
    _split(address)
    check(address)
    return Bucket(address, holds="collection of images", patient=patient)


def _mark(item: ListedObject) -> tuple[int, int, int, int]:
    """The fingerprint of an object: a changed one has another ETag, or where there is none, another time.

    Its time of change is 0 if it has an ETag: however soon after a read it changes, the next scan sees that.
    """
    size, changed = min(item.size_bytes, LARGEST), max(-LARGEST, min(item.changed_ns, LARGEST))
    if item.etag is None:
        return size, changed, changed, 0
    digest = hashlib.sha256(item.etag.encode()).digest()
    return size, changed, 0, int.from_bytes(digest[:8]) & LARGEST
