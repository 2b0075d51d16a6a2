"""Reads one image: checks it, and returns its properties or its pixels as RGB; it knows neither folders nor stores."""

import base64
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.geometry import draft_size, fit
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.collections.address import ImageAddress
from featurestore.collections.formats import decoding_bytes, open_image, pixel_bytes
from featurestore.collections.limits import MAX_PIXELS, MEMORY
from featurestore.collections.memory import room
from featurestore.collections.rgb import ORIENTATION, flatten, turn
from featurestore.errors import FeatureStoreError, ImageError
from featurestore.quiet import quiet

if TYPE_CHECKING:
    from PIL.Image import Image

# What a scaled image is saved as.
ImageForm = Literal["jpeg", "webp"]
# The EXIF orientations that exchange width and height.
TURNED = (5, 6, 7, 8)
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


@dataclass(frozen=True)
class Picture:
    """A decoded image: ``upright`` in RGB or grey, its size and mode in the file, and whether it is synthetic."""

    upright: "Image"
    width: int
    height: int
    mode: str
    synthetic: bool


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
    with _picture(content, grey=True) as picture:
        return ImageFacts(
            content_hash=content_hash(content),
            size_bytes=len(content),
            width=picture.width,
            height=picture.height,
            mode=picture.mode,
            synthetic=picture.synthetic,
            phash=difference_hash(picture.upright),
        )


def difference_hash(image: "Image") -> str:
    """Compare horizontal neighbours of a 9 × 8 grey thumbnail: 64 bits, row by row, as 16 hex digits.

    After Krawetz, "Kind of Like That" (2013), known as dHash.
    """
    thumbnail = image.convert("L").resize((9, 8), _pillow().Resampling.BOX)
    grey = np.frombuffer(thumbnail.tobytes(), np.uint8).reshape(8, 9)
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes().hex()


def decode(content: bytes, how: Preprocessing) -> NDArray[np.uint8]:
    """Decode an image file to ``(height, width, 3)`` uint8 RGB, resized and cropped as ``how`` says.

    The first frame or page, rotated by its EXIF orientation, transparency blended with white, 16 bits scaled to 8.

    Raises
    ------
    ImageError
        As `inspect`.
    """
    with _picture(content, draft=how if how.decode == "draft" else None) as picture:
        return fit(picture.upright, how)


def load_image(
    path: str | Path | ImageAddress, *, height: int, width: int, sha256: str | None = None, pipes: bool = False
) -> NDArray[np.uint8]:
    """The image at ``path`` as ``(height, width, 3)`` uint8 RGB, stretched to that size; see `load_pixels`."""
    return load_pixels(path, Preprocessing(height, width), sha256=sha256, pipes=pipes)


def load_pixels(
    path: str | Path | ImageAddress, how: Preprocessing, *, sha256: str | None = None, pipes: bool = False
) -> NDArray[np.uint8]:
    """The image at ``path`` as ``(height, width, 3)`` uint8 RGB, as `decode` makes it.

    Parameters
    ----------
    path
        A file, the address of an object such as ``s3://BUCKET/PATH/1.jpg``, or of an image in a file that holds many.
    sha256
        The `content_hash` that the file must have, as in the view ``images``; not checked when None.
    pipes
        Whether ``path`` may be a pipe.

    Raises
    ------
    ImageError
        When the file can't be read or doesn't match ``sha256``, or as `inspect`.
    """
    return decode(_checked(_content(path, pipes=pipes), sha256), how)


def thumbnail(
    path: Path | ImageAddress, *, width: int, height: int, form: ImageForm = "jpeg", quality: int = 80
) -> str:
    """The image at ``path`` as a data URI; see `scaled_image`."""
    content = scaled_image(path, width=width, height=height, form=form, quality=quality)
    return f"data:image/{form};base64," + base64.b64encode(content).decode()


def scaled_image(
    path: Path | ImageAddress,
    *,
    width: int,
    height: int,
    form: ImageForm = "jpeg",
    quality: int = 80,
    sha256: str | None = None,
) -> bytes:
    """The image at ``path`` as a JPEG or WEBP file, upright, scaled down to fit ``width`` × ``height``, never cropped.

    The new file holds pixels alone: no comment, profile, place or other metadata of the old one.

    Parameters
    ----------
    width, height
        In pixels.
    sha256
        As for `load_pixels`.

    Raises
    ------
    ImageError
        As `load_pixels`.
    """
    content = _checked(_content(path), sha256)
    buffer = io.BytesIO()
    # A large JPEG is decoded at a smaller scale, which is at least twice the one asked for.
    how = Preprocessing(height, width, resize="longest", edge=max(height, width), decode="draft")
    with _picture(content, draft=how) as picture:
        picture.upright.thumbnail((width, height))
        picture.upright.info = {}  # else Pillow writes the comment and the profile of the file into the new one
        picture.upright.save(buffer, form.upper(), quality=quality)
    return buffer.getvalue()


@contextmanager
def _picture(content: bytes, *, grey: bool = False, draft: Preprocessing | None = None) -> Iterator[Picture]:
    """Decode an image file for the block; waits while the images of other threads take up the memory for it.

    ``grey`` tells that its brightness is enough: of a JPEG all is read, but its colours are not converted, which takes
    as long as the hash of it. With ``draft`` a JPEG is decoded at a smaller scale, as that preprocessing allows.
    """
    with quiet():
        with _reasons():
            image = open_image(content)
            size = decoding_bytes(image)
            _check_size(image, size)
            mode = image.mode
            if grey:
                image.draft("L", None)
            drafted = image.mode != mode
            if draft is not None:
                _draft(image, draft)
        with room(size):
            with _reasons():
                picture = _decoded(image, mode if drafted else None)
            del image  # frees what its decoder holds
            yield picture


def _content(place: str | Path | ImageAddress, *, pipes: bool = False) -> bytes:
    address = place if isinstance(place, ImageAddress) else ImageAddress.at(place)
    return address.read(pipes=pipes)


def _checked(content: bytes, sha256: str | None) -> bytes:
    """``content`` if it has that `content_hash`, or none is asked for."""
    if sha256 is not None and content_hash(content) != sha256:
        raise ImageError("the file has changed since its checksum was taken: run `featurestore ingest` again")
    return content


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn what is wrong with an image into the `ImageError` that is kept in its row."""
    pillow = _pillow()
    try:
        yield
    except pillow.DecompressionBombError as error:
        raise ImageError(f"more pixels than the limit of {MAX_PIXELS}") from error
    except FeatureStoreError:
        raise
    except Exception as error:  # Pillow's plug-ins may raise any error on damaged files
        raise ImageError(f"the image can't be decoded: {error}") from error


@cache
def _pillow() -> ModuleType:
    return import_extra("PIL.Image", "embed", needed_by="reading images")


def _check_size(image: "Image", needed: int) -> None:
    """Refuse an image that would take too much memory, before it is decoded; ``needed`` is its `decoding_bytes`."""
    size, limit = f"{image.width} × {image.height} pixels", MEMORY // pixel_bytes(image.format)
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(f"{size} are over the limit of {MAX_PIXELS}")
    if image.width * image.height > limit:
        raise ImageError(f"{size} are over the limit of {limit} for {image.format}, whose decoder takes more memory")
    if needed > MEMORY:
        raise ImageError(f"the tiles of the image, of {size}, are over the limit of {limit} pixels")


def _draft(image: "Image", how: Preprocessing) -> None:
    """Let a JPEG be decoded at the smallest scale that is not below `draft_size`; other formats stay as they are."""
    turned = image.getexif().get(ORIENTATION, 1) in TURNED
    width, height = draft_size(image.size[::-1] if turned else image.size, how)
    image.draft(None, (height, width) if turned else (width, height))


def _decoded(image: "Image", mode: str | None) -> Picture:
    """``mode`` is that of the file where it is decoded to grey."""
    image.load()
    orientation = image.getexif().get(ORIENTATION, 1)
    (width, height), flat = image.size, flatten(image) if mode is None else image
    mode = mode or image.mode
    if flat is not image:
        image.close()  # frees its pixels
    synthetic = image.info.get("comment") == SYNTHETIC_COMMENT
    return Picture(turn(flat, orientation), width, height, mode, synthetic)
