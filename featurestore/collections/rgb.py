"""Converts a decoded image of any mode to upright RGB, in strips, so that a large one takes little more memory."""

from typing import TYPE_CHECKING

import numpy as np

from featurestore._optional import import_extra
from featurestore.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

STRIP_PIXELS = 1 << 20
# The EXIF orientation tag, and the method of Pillow that turns an image with that value upright; 1 is upright.
ORIENTATION = 0x0112
UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def flatten(image: "Image") -> "Image":
    """A decoded image in mode RGB: transparency blended with white, 16 and 32 bits scaled to 8.

    Numbers above 255 are scaled so that the largest is 255, and so are floats that are all at most 1.

    Raises
    ------
    ImageError
        When it holds NaN or infinity.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    numbers = image.mode.startswith(("I", "F"))  # 16-bit images have the mode I;16 or I; Pillow would clip them
    largest = _largest(image) if numbers else 0.0
    pillow = import_extra("PIL.Image", "embed", needed_by="decoding images")

    def convert(strip: "Image") -> "Image":
        return _scaled(strip, largest) if numbers else _blended(strip)

    strips = _strips(image)
    if len(strips) == 1:
        return convert(image)
    flat = pillow.new("RGB", image.size)
    for top, bottom in strips:
        flat.paste(convert(image.crop((0, top, image.width, bottom))), (0, top))
    return flat


def turn(image: "Image", orientation: int) -> "Image":
    """``image`` turned upright from an EXIF orientation; unknown ones are upright."""
    method = UPRIGHT.get(orientation)
    if method is None:
        return image
    pillow = import_extra("PIL.Image", "embed", needed_by="decoding images")
    return image.transpose(pillow.Transpose[method])


def _strips(image: "Image") -> list[tuple[int, int]]:
    """The first row of each strip, and the row after its last."""
    rows = max(1, STRIP_PIXELS // image.width)
    return [(top, min(top + rows, image.height)) for top in range(0, image.height, rows)]


def _largest(image: "Image") -> float:
    """The number that becomes 255."""
    largest = 0.0
    for top, bottom in _strips(image):
        values = np.asarray(image.crop((0, top, image.width, bottom)))
        if not np.isfinite(values).all():
            raise ImageError("the image holds NaN or infinity, expected brightness")
        largest = max(largest, float(values.max()))
    if image.mode == "F" and 0 < largest <= 1:
        return 1.0
    return max(255.0, largest)


def _scaled(image: "Image", largest: float) -> "Image":
    pillow = import_extra("PIL.Image", "embed", needed_by="decoding images")
    values = np.asarray(image, dtype=np.float64)
    return pillow.fromarray((values / largest * 255.0).clip(0, 255).astype(np.uint8)).convert("RGB")


def _blended(image: "Image") -> "Image":
    pillow = import_extra("PIL.Image", "embed", needed_by="decoding images")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        white = pillow.new("RGBA", image.size, "white")
        image = pillow.alpha_composite(white, image)
    return image.convert("RGB")
