"""Defines what a container of images is: the protocol, its rows, and the limits; how each kind is read is elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from featurestore.errors import ImageError

# What the libraries raise on damaged files.
DAMAGED = (OSError, ValueError, OverflowError, MemoryError, pa.ArrowException)


@dataclass(frozen=True)
class ContainerRows:
    """The images of a container in file order: three columns of one length, and sentences on what was left out.

    ``member`` is the address of an image in its container, ``name`` its name for people: unique in the container, with
    ``/``, in Unicode's NFC. ``columns`` holds everything else that the container says of an image.
    """

    member: list[str]
    name: list[str]
    columns: pa.Table
    notes: tuple[str, ...] = ()


class Container(Protocol):
    """A file that holds images; they are read from where they are. Any number of threads may read."""

    path: Path

    def rows(self) -> ContainerRows:
        """Name every image, without decoding one.

        Raises
        ------
        InputError
            When the container is damaged, or has more than `MAX_MEMBERS` members.
        """
        ...

    def read(self, member: str) -> bytes:
        """The bytes of one image; fastest in the order of `rows`.

        Raises
        ------
        ImageError
            When there is no such member, or its bytes can't be read.
        """
        ...

    def read_all(self) -> Iterator[tuple[str, bytes | ImageError]]:
        """Each member in the order of `rows` with its bytes, or the error that `read` would raise."""
        ...
