"""The image formats that are read, and how a file is opened by its content; the suffix never decides how."""

import io
import re
import struct
from functools import cache
from typing import TYPE_CHECKING

from featurestore._optional import import_extra
from featurestore.collections.limits import MAX_ICON_PIXELS, MAX_SCANNED
from featurestore.errors import ImageError, ImageNeedsExtra, MissingExtra

if TYPE_CHECKING:
    from PIL.Image import Image

# Formats by Pillow's names, and the suffixes of their files. They hold finished pictures, and their decoders are part
# of Pillow, in C, or in Python in time that grows with the size of the file. TGA has no signature: it is tried last.
#
# Not read, though Pillow knows them:
#   EPS, PS, WMF, EMF             drawn by another program or by the system: they are programs themselves
#   BUFR, GRIB, HDF5, MPEG        Pillow only recognises them, and any other package may register as their decoder
#   FPX, MIC                      compound documents, which need another package; Pillow gives them up
#   PSD, GBR, XCF                 layers and brushes: a flattened picture may be missing, or differ from what is seen
#   FITS, SPIDER, MCIDAS, IM      measurements, with no range that stands for black to white; FITS unpacks without limit
#   BLP, FTEX, ICNS, CUR, FLI, PCD, PIXAR, SUN, MSP, XBM, XPM, DCX, IPTC, IMT, XVTHUMB
#                                 no collection of images comes in them, and each decoder is one more way in
FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "AVIF": (".avif", ".avifs"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "DIB": (".dib",),
    "TIFF": (".tif", ".tiff"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
    "ICO": (".ico",),
    "DDS": (".dds",),
    "PCX": (".pcx",),
    "QOI": (".qoi",),
    "SGI": (".sgi", ".rgb", ".rgba"),
    "TGA": (".tga",),
}
# Read with the extra `heic`.
HEIF, HEIF_SUFFIXES = "HEIF", (".heic", ".heics", ".heif", ".heifs", ".hif")
SUFFIXES = frozenset({suffix for suffixes in FORMATS.values() for suffix in suffixes} | {*HEIF_SUFFIXES})
HEVC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
# The brands of any container of still images or of image sequences.
CONTAINER_BRANDS = frozenset({b"mif1", b"msf1"})
AVIF_BRANDS = frozenset({b"avif", b"avis"})
# The list of brands is short; only the start of a file is searched for it.
BRANDS_WITHIN = 1024
# Peak memory while a pixel is decoded and converted to RGB, in bytes, as measured; `OTHER_BYTES` for other formats.
PIXEL_BYTES = {"JPEG2000": 24, "WEBP": 16, "AVIF": 12, "HEIF": 12}
OTHER_BYTES = 10
TILE_WIDTH, TILE_LENGTH = 322, 323
# In a JPEG: a marker that a length follows, or the end; compressed data has zeros and restart markers after 255.
MARKER, START_OF_SCAN, END_OF_IMAGE = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]"), b"\xff\xda", b"\xff\xd9"


def open_image(content: bytes) -> "Image":
    """Read the header of an image file, whose pixels are decoded later, by ``load``.

    Raises
    ------
    ImageNeedsExtra
        When the format needs a package that is not installed.
    ImageError
        When no format is recognised, or an icon is too large. Pillow may raise any other error on damaged files.
    """
    pillow = import_extra("PIL.Image", "embed", needed_by="reading images")
    if not content:
        raise ImageError("the file is empty")
    formats = tuple(FORMATS)
    if is_heif(content):
        _register_heif()
        formats = (HEIF,)
    elif content.startswith(b"\0\0\1\0"):
        _check_icon(content)
    try:
        image = pillow.open(io.BytesIO(content), formats=formats)
    except pillow.UnidentifiedImageError as error:
        raise ImageError(f"no image format is known that begins with {content[:8]!r}") from error
    if content.startswith(b"\xff\xd8"):
        _check_scans(content, image.width * image.height)
    return image


def decoding_bytes(image: "Image") -> int:
    """The most memory that an opened image takes while it is decoded and converted to RGB, in bytes."""
    pixels = image.width * image.height
    tags = getattr(image, "tag_v2", {})  # a TIFF, whose tiles may be larger than the image
    width, length = tags.get(TILE_WIDTH, 0), tags.get(TILE_LENGTH, 0)
    if isinstance(width, int) and isinstance(length, int):
        pixels = max(pixels, width * length)
    return pixels * pixel_bytes(image.format)


def pixel_bytes(form: str | None) -> int:
    """The bytes per pixel of `decoding_bytes` for a format."""
    return PIXEL_BYTES.get(form or "", OTHER_BYTES)


def is_heif(content: bytes) -> bool:
    """Whether the file is HEIF with pictures that AVIF's decoder can't read, such as HEIC."""
    if content[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(content[:4]), BRANDS_WITHIN)
    brands = {content[8:12], *(content[place : place + 4] for place in range(16, end, 4))}
    return bool(brands & (HEVC_BRANDS | CONTAINER_BRANDS)) and not brands & AVIF_BRANDS


@cache
def _register_heif() -> None:
    try:
        heif = import_extra("pillow_heif", "heic", needed_by="reading HEIC images")
    except MissingExtra as error:
        raise ImageNeedsExtra(str(error)) from error
    heif.register_heif_opener()


def _check_scans(content: bytes, pixels: int) -> None:
    """Refuse a JPEG whose scans, of ``pixels`` each, would take minutes; it follows the markers of the first image."""
    place, scans = 2, 0
    while (marker := MARKER.search(content, place)) is not None and marker[0] != END_OF_IMAGE:
        place = marker.start() + 2 + int.from_bytes(content[marker.end() : marker.end() + 2])
        scans += marker[0] == START_OF_SCAN
        if scans * pixels > MAX_SCANNED:
            raise ImageError(f"the JPEG has so many scans that they are over the limit of {MAX_SCANNED} pixels in all")


def _check_icon(content: bytes) -> None:
    """Refuse an icon file with a large picture in it."""
    (count,) = struct.unpack_from("<H", content, 4)
    for place in range(6, min(6 + 16 * count, len(content) - 15), 16):
        (start,) = struct.unpack_from("<I", content, place + 12)
        head = content[start : start + 24].ljust(24, b"\0")
        if head.startswith(b"\x89PNG"):
            width, height = struct.unpack_from(">II", head, 16)
        elif head.startswith(b"\x0c\0\0\0"):  # the first version of the bitmap header
            width, height = struct.unpack_from("<HH", head, 4)
        else:
            width, height = map(abs, struct.unpack_from("<ii", head, 4))
        if width * height > MAX_ICON_PIXELS:  # a bitmap counts its mask as a second half
            raise ImageError(f"a picture of {width} × {height} pixels in an icon file is over the limit of 1024 × 1024")
