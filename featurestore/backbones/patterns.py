"""Uniform local binary patterns of one grey image, the texture block of `descriptors`.

Rotation invariant and uniform, as Ojala, Pietikäinen and Mäenpää define them (PAMI 2002): each code equals the one of
``skimage.feature.local_binary_pattern(plane, points, radius, "uniform")``, rounding included.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def patterns(plane: NDArray[np.uint8], points: int, radius: int) -> NDArray[np.uint8]:
    """The code of each pixel of ``plane`` ``(rows, columns)``, 0 … ``points`` + 1; it is 0 outside of the image.

    ``points`` is at most 16.
    """
    grid = _Grid(plane, radius)
    bits = np.zeros(plane.shape, np.uint16)
    for start in range(0, points, 8):
        byte = np.zeros(plane.shape, np.uint8)
        for point, (down, right) in enumerate(_offsets(points, radius)[start : start + 8]):
            lighter = (grid.at(down, right) >= grid.centre).view(np.uint8)
            lighter <<= point
            byte |= lighter
        bits |= byte.astype(np.uint16) << start
    return np.take(_uniform(points), bits)


class _Grid:
    """A plane with a border of zeros, and its values between pixels.

    Neighbours with the same column share their interpolation along the row. The distance to the pixels is rounded as in
    ``row + offset``, so that in an area of one colour each code is the same as in the reference.
    """

    def __init__(self, plane: NDArray[np.uint8], radius: int) -> None:
        self._radius = radius
        self._height, self._width = plane.shape
        self._padded = np.zeros((self._height + 2 * radius, self._width + 2 * radius))
        self._between: dict[float, Floats] = {}
        self.centre = self._padded[radius : radius + self._height, radius : radius + self._width]
        self.centre[:] = plane

    def at(self, down: float, right: float) -> Floats:
        """The value at this offset from each pixel, interpolated bilinearly."""
        values = self._along_rows(right)
        first = int(np.floor(down))
        start = self._radius + first
        upper = values[start : start + self._height]
        if down == first:
            return upper
        rows = np.arange(self._height) + down
        share = (rows - np.floor(rows))[:, None]
        between = upper * (1 - share)
        between += values[start + 1 : start + 1 + self._height] * share
        return between

    def _along_rows(self, right: float) -> Floats:
        """All rows, border included, at this offset from each column."""
        if right not in self._between:
            first = int(np.floor(right))
            start = self._radius + first
            left = self._padded[:, start : start + self._width]
            if right != first:
                columns = np.arange(self._width) + right
                share = columns - np.floor(columns)
                left = left * (1 - share)
                left += self._padded[:, start + 1 : start + 1 + self._width] * share
            self._between[right] = left
        return self._between[right]


@lru_cache(maxsize=4)
def _offsets(points: int, radius: int) -> list[tuple[float, float]]:
    """Rows and columns from a pixel to each of its neighbours, rounded as the reference does."""
    angles = 2 * np.pi * np.arange(points) / points
    down, right = np.round(-radius * np.sin(angles), 5), np.round(radius * np.cos(angles), 5)
    return list(zip(down.tolist(), right.tolist(), strict=True))


@lru_cache(maxsize=4)
def _uniform(points: int) -> NDArray[np.uint8]:
    """The code of each number of ``points`` bits: the ones in it if it changes at most twice, else ``points`` + 1."""
    bits = (np.arange(2**points)[:, None] >> np.arange(points)) & 1
    changes = np.abs(np.diff(bits, axis=1)).sum(1)
    return np.where(changes <= 2, bits.sum(1), points + 1).astype(np.uint8)
