"""Share: which of a store's images one machine embeds; it depends on the table `images` alone."""

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.errors import InputError

WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True)
class Share:
    """The ``number``-th, from 1, of ``count`` shares of the distinct content hashes of all usable images.

    Shares are ranges of nearly equal length of the hashes in the order of their first image's id. What has been
    embedded meanwhile does not move them, and all images with the same bytes are in one share.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read ``3/16``.

        Raises
        ------
        InputError
            When it is something else.
        """
        found = WRITTEN.fullmatch(text)
        number, count = map(int, found.groups()) if found else (0, 0)
        if not 1 <= number <= count:
            raise InputError(f"got the shard {text[:40]!r}, expected NUMBER/COUNT, from 1/COUNT to COUNT/COUNT: 3/16")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, hashes: pa.Array) -> pa.Array:
        """The hashes of this share; ``hashes`` are all, each once."""
        first, end = ((number * len(hashes)) // self.count for number in (self.number - 1, self.number))
        return hashes.slice(first, end - first)


def shares_of(places: NDArray[np.int64], total: int, count: int) -> list[Share]:
    """The shares, of ``count``, that the hashes at ``places`` of all ``total`` hashes are in, each once, in order."""
    numbers = -(-(places + 1) * count // total)  # the smallest whose share ends behind the place
    return [Share(number, count) for number in np.unique(numbers).tolist()]
