"""Moves the pixels of one Pillow image as its `Preprocessing` says: resize, crop and padding."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.preprocessing import Preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, int]
# An image is resized to at most so many pixels; of a larger one only the centre is made.
MOST_PIXELS = 16_000_000


def fit(image: "Image", how: Preprocessing) -> NDArray[np.uint8]:
    """The pixels of an upright RGB ``image`` as ``(height, width, 3)`` uint8.

    With ``patches`` height and width are those of `resized_size`, else those of ``how``.
    """
    size = resized_size(image.size, how)
    if image.size != size:
        pillow = import_extra("PIL.Image", "embed", needed_by="preprocessing images")
        method = pillow.Resampling[how.interpolation.upper()]
        if how.resize == "shortest" and size[0] * size[1] > MOST_PIXELS:
            return np.asarray(_resized_centre(image, size, how, method), np.uint8)
        image = image.resize(size, method)
    pixels = np.asarray(image, np.uint8)
    if how.resize == "patches" or pixels.shape[:2] == (how.height, how.width):
        return pixels
    return _centred(pixels, how)


def resized_size(size: Size, how: Preprocessing) -> Size:
    """Width and height to which an image of ``size`` (width, height) is resized, before it is cropped or padded."""
    width, height = size
    if how.resize == "patches":
        return _patches_size(size, how.patch, how.max_patches)
    if how.resize == "stretch":
        return (how.edge, how.edge) if how.edge else (how.width, how.height)
    if how.resize == "shortest":
        edge = how.edge or max(how.height, how.width)
        return (edge, max(edge, edge * height // width)) if width <= height else (edge * width // height, edge)
    edge = how.edge or min(how.height, how.width)
    return (max(1, edge * width // height), edge) if width <= height else (edge, max(1, edge * height // width))


def draft_size(size: Size, how: Preprocessing) -> Size:
    """The smallest width and height at which a JPEG of ``size`` may be decoded: twice those of `resized_size`."""
    width, height = resized_size(size, how)
    return 2 * width, 2 * height


def _resized_centre(image: "Image", size: Size, how: Preprocessing, method: Any) -> "Image":
    """The centre of ``image`` resized to ``size``, as `_centred` takes it, without making the rest of it.

    A strip of a million × 3 pixels would be resized to gigabytes. Not for all images, as Pillow may take its two passes
    in another order then, which changes pixels of ``bicubic``.
    """
    scale = image.width / size[0], image.height / size[1]
    left, top = (size[0] - how.width) // 2, (size[1] - how.height) // 2
    box = (
        left * scale[0],
        top * scale[1],
        min(image.width, (left + how.width) * scale[0]),
        min(image.height, (top + how.height) * scale[1]),
    )
    return image.resize((how.width, how.height), method, box=box)


def _centred(pixels: NDArray[np.uint8], how: Preprocessing) -> NDArray[np.uint8]:
    """The centre of ``pixels`` with the size of the input; where they are smaller, ``fill`` surrounds them."""
    canvas = np.empty((how.height, how.width, 3), np.uint8)
    canvas[:] = np.array(how.fill, np.uint8)
    (source_rows, target_rows), (source_columns, target_columns) = (
        _overlap(have, want) for have, want in zip(pixels.shape[:2], (how.height, how.width), strict=True)
    )
    canvas[target_rows, target_columns] = pixels[source_rows, source_columns]
    return canvas


def _overlap(have: int, want: int) -> tuple[slice, slice]:
    """Where a centred crop or border of ``want`` pixels reads from ``have`` pixels, and where it writes."""
    if have >= want:
        start = (have - want) // 2
        return slice(start, start + want), slice(None)
    start = (want - have) // 2
    return slice(None), slice(start, start + have)


def _patches_size(size: Size, patch: int, most: int) -> Size:
    """The largest width and height in whole patches, at most ``most`` of them, that keep the ratio of ``size``.

    A binary search for the scale, after the image processor of SigLIP 2 (Tschannen et al., 2025).
    """
    width, height = size

    def scaled(side: int, scale: float) -> int:
        return max(patch, math.ceil(side * scale / patch) * patch)

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        middle = (low + high) / 2
        if scaled(height, middle) / patch * (scaled(width, middle) / patch) <= most:
            low = middle
        else:
            high = middle
    return scaled(width, low), scaled(height, low)
