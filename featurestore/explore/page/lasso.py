"""Which images lie in a polygon that was drawn on a map: of a large map the page itself has a sample only."""

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import InputError
from featurestore.explore.page.projection import FARTHEST, Points

MOST_CORNERS = 500


def polygon_of(text: str) -> NDArray[np.float64]:
    """The corners ``(k, 2)`` of ``x,y;x,y;…``, as the page's address has them.

    Raises
    ------
    InputError
        When they are no numbers, or fewer than three or more than `MOST_CORNERS`.
    """
    try:
        corners = [tuple(float(one) for one in corner.split(",")) for corner in text.split(";")]
    except ValueError:
        corners = []
    good = all(len(corner) == 2 and all(abs(one) <= FARTHEST for one in corner) for corner in corners)
    if not good or not 3 <= len(corners) <= MOST_CORNERS:
        raise InputError(f"got {text[:40]!r} as polygon, expected 3 to {MOST_CORNERS} corners as x,y;x,y;x,y")
    return np.array(corners)


def inside(found: Points, polygon: NDArray[np.float64]) -> NDArray[np.int32]:
    """The ids of the images in ``polygon`` ``(k, 2)``, ascending, by the even-odd rule, as the page counts them."""
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    near = np.flatnonzero(((found.xy >= low) & (found.xy <= high)).all(axis=1))
    x, y = found.xy[near].astype(np.float64).T
    hit = np.zeros(len(near), bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, 1, axis=0), strict=True):
        if ay != by:
            crossed = np.flatnonzero((ay > y) != (by > y))
            hit[crossed] ^= x[crossed] < (bx - ax) * (y[crossed] - ay) / (by - ay) + ax
    return found.ids[near[hit]]
