"""A grey picture of how densely images lie on a map, for more of them than a page can draw."""

import io

import numpy as np

from featurestore._optional import import_extra
from featurestore.explore.page.projection import Points

MOST_PIXELS = 2048


def density_png(found: Points, window: tuple[float, float, float, float], *, width: int, height: int) -> bytes:
    """How many of the images lie in each pixel of the window (x0, y0, x1, y1), as a grey PNG.

    The highest row has the largest y. 0 is no image, 255 the pixel with the most; between them by the logarithm of the
    count, since a few dense pixels would leave the others black.

    Raises
    ------
    MissingExtra
        When Pillow is not installed.
    """
    x0, y0, x1, y1 = window
    x, y = found.xy.T
    inside = (x >= x0) & (x <= x1) & (y >= y0) & (y <= y1)
    across = np.minimum(((x[inside] - x0) * (width / (x1 - x0))).astype(np.intp), width - 1)
    down = np.minimum(((y1 - y[inside]) * (height / (y1 - y0))).astype(np.intp), height - 1)
    counts = np.bincount(down * width + across, minlength=width * height).reshape(height, width)
    grey = np.log1p(counts) / max(np.log1p(counts.max()), 1e-9)
    # The faintest pixel that holds an image can still be seen.
    pixels = np.where(counts > 0, np.maximum(np.round(grey * 255), 24), 0).astype(np.uint8)
    pillow = import_extra("PIL.Image", "explore", needed_by="the picture of a large map")
    buffer = io.BytesIO()
    pillow.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
