"""Reads one image: checks it, and returns its properties or its pixels as RGB; it knows neither folders nor stores."""

import base64
import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.collections.address import ImageAddress
from featurestore.errors import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
# Only the formats of these suffixes: Pillow would run an external program to render a PostScript file.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 64_000_000
# The EXIF orientation tag; 1 is upright.
ORIENTATION = 0x0112
# Every poster that `featurestore sample` draws carries this JPEG comment, so that its origin is never lost.
SYNTHETIC_COMMENT = b"synthetic featurestore sample"


@dataclass(frozen=True)
class ImageFacts:
    """Properties of a usable image: SHA-256 of its bytes, sizes in bytes and pixels, Pillow's mode, whether synthetic.

    ``phash`` is a difference hash of 64 bits as 16 hex digits: similar images differ in few bits.
    """

    content_hash: str
    size_bytes: int
    width: int
    height: int
    mode: str
    synthetic: bool
    phash: str


def content_hash(content: bytes) -> str:
    """SHA-256 of an image file's bytes, 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def inspect(content: bytes) -> ImageFacts:
    """Decode an image file completely and return its properties.

    Raises
    ------
    ImageError
        When it is empty, not an image, truncated, or too large.
    """
    image, upright = _open(content)
    return ImageFacts(
        content_hash=content_hash(content),
        size_bytes=len(content),
        width=image.width,
        height=image.height,
        mode=image.mode,
        synthetic=image.info.get("comment") == SYNTHETIC_COMMENT,
        phash=difference_hash(upright),
    )


def difference_hash(image: "Image") -> str:
    """Compare horizontal neighbours of a 9 × 8 grey thumbnail: 64 bits, row by row, as 16 hex digits.

    After Krawetz, "Kind of Like That" (2013), known as dHash.
    """
    pillow = import_extra("PIL.Image", "embed", needed_by="hashing images")
    thumbnail = np.asarray(image.convert("L").resize((9, 8), pillow.Resampling.BOX), np.int16)
    return np.packbits(thumbnail[:, 1:] > thumbnail[:, :-1]).tobytes().hex()


def decode(content: bytes, *, height: int, width: int) -> NDArray[np.uint8]:
    """Decode an image file to ``(height, width, 3)`` uint8 RGB.

    The first frame, rotated by its EXIF orientation, transparency blended with white, 16 bits scaled to 8, then a
    bilinear antialiased resize that does not keep the aspect ratio.

    Raises
    ------
    ImageError
        As `inspect`.
    """
    pillow = import_extra("PIL.Image", "embed", needed_by="decoding images")
    _, image = _open(content)
    if image.size != (width, height):
        image = image.resize((width, height), pillow.Resampling.BILINEAR)
    return np.asarray(image, dtype=np.uint8)


def load_image(
    path: str | Path | ImageAddress, *, height: int, width: int, sha256: str | None = None, pipes: bool = False
) -> NDArray[np.uint8]:
    """The image at ``path`` as ``(height, width, 3)`` uint8 RGB, as `decode` makes it.

    Parameters
    ----------
    path
        A file, or the address of an image in a file that holds many.
    sha256
        The `content_hash` that the file must have, as in the view ``images``; not checked when None.
    pipes
        Whether ``path`` may be a pipe.

    Raises
    ------
    ImageError
        When the file can't be read or doesn't match ``sha256``, or as `inspect`.
    """
    content = _content(path, pipes=pipes)
    if sha256 is not None and content_hash(content) != sha256:
        raise ImageError("the file has changed since its checksum was taken: run `featurestore ingest` again")
    return decode(content, height=height, width=width)


def thumbnail(path: Path | ImageAddress, *, width: int, height: int) -> str:
    """The image at ``path``, scaled to fit ``width`` × ``height`` pixels, as a data URI of a JPEG.

    Raises
    ------
    ImageError
        When the file can't be read, or as `inspect`.
    """
    _, image = _open(_content(path))
    image.thumbnail((width, height))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def to_rgb(image: "Image") -> "Image":
    """Rotate any image upright and convert it to mode RGB."""
    ops = import_extra("PIL.ImageOps", "embed", needed_by="decoding images")
    pillow = import_extra("PIL.Image", "embed", needed_by="decoding images")
    image.load()  # the caller may close its file
    if image.getexif().get(ORIENTATION, 1) != 1:  # avoids a copy of every image
        image = ops.exif_transpose(image)
    if image.mode == "RGB":
        return image
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ImageError("the image holds NaN or infinity, expected brightness")
        # 16-bit images have the mode I;16 or I; Pillow would clip them to white.
        image = pillow.fromarray((values / max(255.0, values.max()) * 255.0).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
        white = pillow.new("RGBA", image.size, "white")
        image = pillow.alpha_composite(white, image)
    return image.convert("RGB")


def _content(place: str | Path | ImageAddress, *, pipes: bool = False) -> bytes:
    address = place if isinstance(place, ImageAddress) else ImageAddress(Path(place))
    return address.read(pipes=pipes)


def _open(content: bytes) -> tuple["Image", "Image"]:
    """The image as it is in the file, and the same upright in RGB."""
    pillow = import_extra("PIL.Image", "embed", needed_by="reading images")
    if not content:
        raise ImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged metadata and of large images; the size limit is checked below.
            warnings.simplefilter("ignore")
            image = pillow.open(io.BytesIO(content), formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(f"{image.width} × {image.height} pixels are over the limit of {MAX_PIXELS}")
            image.load()
            return image, to_rgb(image)
    except pillow.DecompressionBombError as error:
        raise ImageError(f"more pixels than the limit of {MAX_PIXELS}") from error
    except pillow.UnidentifiedImageError as error:
        raise ImageError(f"no image format is known that begins with {content[:8]!r}") from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's plug-ins may raise any error on damaged files
        raise ImageError(f"the image can't be decoded: {error}") from error
