"""Image files of every format that is read, and files that are refused: damaged, bombs, no images; none is stored.

``python tests/helpers/image_files.py FOLDER [COUNT]`` writes COUNT of them (700) as a collection of the movies' recipe.
"""

import io
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from support import huge_png, movie, write_metadata

SIZE = (40, 48)
UNKNOWN, UNDECODABLE, LIMIT = "no image format is known", "can't be decoded", "limit of"


@dataclass(frozen=True)
class Usable:
    """A way to write a picture: the mode it has in memory, Pillow's name of the format, and its options."""

    suffix: str
    mode: str
    form: str
    options: dict[str, object] = field(default_factory=dict)

    def content(self, seed: int) -> bytes:
        """The file; dark at the top, light at the bottom, another for another seed."""
        image = picture(seed, self.mode)
        more = {"append_images": [picture(seed + 1, self.mode).rotate(180)]} if self.options.get("save_all") else {}
        return encoded(image, self.form, **self.options, **more)


@dataclass(frozen=True)
class Unusable:
    """A file that is refused, and what its reason says (a pattern)."""

    what: str
    suffix: str
    content: bytes
    reason: str


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """``image`` as a file of that format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def picture(seed: int, mode: str = "RGB") -> Image.Image:
    """An image of `SIZE` that goes from dark (below 60) to light (above 190), row by row; with colours, reddish."""
    ramp = np.linspace(20, 235, SIZE[1])[:, None] + np.random.default_rng(seed).uniform(-15, 15, SIZE[::-1])
    if mode == "I;16":
        return Image.fromarray((ramp * 257).astype(np.uint16))
    if mode == "I":
        return Image.fromarray((ramp * 257).astype(np.int32))
    if mode in ("F", "F of 0 to 1"):
        return Image.fromarray((ramp if mode == "F" else ramp / 255).astype(np.float32))
    tinted = np.stack([ramp + 20, ramp, ramp - 20], axis=2).clip(0, 255)
    image = Image.fromarray(tinted.astype(np.uint8))
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        lab = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
        assert lab is not None
        return lab
    return image.convert(mode)


LOSSY = {"quality": 90}
FRAMES = {"save_all": True}
USABLE = (
    Usable(".jpg", "RGB", "JPEG", LOSSY),
    Usable(".jpeg", "L", "JPEG", LOSSY),
    Usable(".jpe", "CMYK", "JPEG", LOSSY),
    Usable(".jfif", "YCbCr", "JPEG", LOSSY),
    Usable(".JFIF", "RGB", "JPEG", {"progressive": True}),
    Usable(".mpo", "RGB", "MPO", FRAMES),
    Usable(".jpg", "RGB", "MPO", FRAMES),
    *(Usable(".png", mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    Usable(".png", "P", "PNG", {"transparency": 3}),
    Usable(".png", "RGB", "PNG", {"transparency": (1, 2, 3)}),
    Usable(".apng", "RGB", "PNG", FRAMES),
    Usable(".webp", "RGB", "WEBP", LOSSY),
    Usable(".webp", "RGBA", "WEBP", {"lossless": True}),
    Usable(".webp", "RGB", "WEBP", FRAMES),
    Usable(".avif", "RGB", "AVIF", {"speed": 10}),
    Usable(".avif", "RGBA", "AVIF", {"speed": 10}),
    Usable(".avifs", "RGB", "AVIF", {"speed": 10, **FRAMES}),
    Usable(".jpg", "RGB", "AVIF", {"speed": 10}),
    Usable(".gif", "P", "GIF"),
    Usable(".gif", "RGB", "GIF", FRAMES),
    Usable(".bmp", "RGB", "BMP"),
    Usable(".bmp", "1", "BMP"),
    Usable(".dib", "L", "DIB"),
    *(Usable(".tif", mode, "TIFF") for mode in ("1", "L", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F", "YCbCr")),
    Usable(".tif", "F of 0 to 1", "TIFF"),
    *(Usable(".tiff", "RGB", "TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits")),
    *(Usable(".tiff", "RGB", "TIFF", {"compression": name}) for name in ("jpeg", "zstd", "lzma")),
    Usable(".TIFF", "1", "TIFF", {"compression": "group4"}),
    Usable(".tif", "RGB", "TIFF", FRAMES),
    Usable(".jp2", "RGB", "JPEG2000"),
    Usable(".j2k", "L", "JPEG2000", {"no_jp2": True}),
    Usable(".jpx", "RGBA", "JPEG2000", {"tile_size": (16, 16)}),
    Usable(".ppm", "RGB", "PPM"),
    Usable(".pgm", "L", "PPM"),
    Usable(".pbm", "1", "PPM"),
    Usable(".pnm", "I", "PPM"),
    Usable(".pfm", "F", "PPM"),
    Usable(".ico", "RGBA", "ICO", {"sizes": [(32, 32)]}),
    Usable(".ico", "RGB", "ICO", {"sizes": [(32, 32)], "bitmap_format": "bmp"}),
    Usable(".dds", "RGB", "DDS"),
    Usable(".dds", "RGBA", "DDS", {"pixel_format": "DXT5"}),
    Usable(".pcx", "RGB", "PCX"),
    Usable(".pcx", "L", "PCX"),
    Usable(".qoi", "RGB", "QOI"),
    Usable(".qoi", "RGBA", "QOI"),
    Usable(".sgi", "L", "SGI"),
    Usable(".rgb", "RGB", "SGI"),
    Usable(".tga", "RGB", "TGA"),
    Usable(".tga", "RGBA", "TGA", {"compression": "tga_rle"}),
)


def unusable() -> Iterator[Unusable]:
    """Every file that is refused."""
    yield from _no_images()
    yield from _cut()
    yield from _damaged()
    yield from _bombs()


def _no_images() -> Iterator[Unusable]:
    yield Unusable("nothing", ".jpg", b"", "the file is empty")
    for what, suffix, content in (
        ("one byte", ".png", b"\xff"),
        ("zeros", ".tga", bytes(4000)),
        ("HTML", ".jpg", b"<!DOCTYPE html><html><body>404</body></html>"),
        ("SVG", ".png", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
        ("PDF", ".jpg", b"%PDF-1.7\n" + bytes(50)),
        ("ZIP", ".webp", b"PK\x03\x04" + bytes(40)),
        ("a program in PostScript", ".jpg", encoded(picture(0), "EPS")),
        ("a Windows metafile", ".jpg", b"\xd7\xcd\xc6\x9a\0\0" + bytes(50)),
        ("a video", ".jpg", b"\0\0\0 ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(50)),
        ("text", ".ppm", b"Posters of 1912, as scanned"),
    ):
        yield Unusable(what, suffix, content, f"{UNKNOWN}|{UNDECODABLE}")


def _cut() -> Iterator[Unusable]:
    """The first half of a file of each format."""
    seen = set()
    for way in USABLE:
        if way.form not in seen and way.form != "MPO":
            seen.add(way.form)
            content = way.content(1)
            yield Unusable(
                f"half a {way.form}", way.suffix, content[: len(content) // 2], f"{UNKNOWN}|{UNDECODABLE}|truncated"
            )


def _damaged() -> Iterator[Unusable]:
    for name in ("tiff_lzw", "tiff_adobe_deflate", "lzma"):
        content = bytearray(encoded(picture(2), "TIFF", compression=name))
        content[60:260] = b"\xff" * 200
        yield Unusable(f"a TIFF with damaged {name}", ".tif", bytes(content), UNDECODABLE)
    content = bytearray(encoded(picture(3), "PNG"))
    content[content.index(b"IDAT") + 20] ^= 0xFF
    yield Unusable("a PNG with damaged pixels", ".png", bytes(content), UNDECODABLE)
    pixels = np.zeros((8, 8), np.float32)
    pixels[0, 0] = np.nan
    yield Unusable("a TIFF with NaN", ".tif", encoded(Image.fromarray(pixels), "TIFF"), "NaN or infinity")
    yield Unusable("a PNG of no width", ".png", huge_png(0, 8), f"{UNKNOWN}|{UNDECODABLE}")
    yield Unusable("a GIF of no height", ".gif", b"GIF89a\x08\0\0\0\0\0\0;", f"{UNKNOWN}|{UNDECODABLE}")


def _bombs() -> Iterator[Unusable]:
    """Small files that would take gigabytes."""

    def patched(form: str, place: Callable[[bytes], int], size: bytes, **options: object) -> bytes:
        content = encoded(picture(4), form, **options)
        start = place(content)
        return content[:start] + size + content[start + len(size) :]

    side = 30_000
    little, large = struct.pack("<HH", side, side), struct.pack(">HH", side, side)
    header, wide = struct.pack("<II", side, side), struct.pack(">II", side, side)
    width = struct.pack("<HHI", 256, 4, 1)  # the first field of a TIFF; the next is its height
    bombs = {
        ".png": huge_png(),
        ".jpg": patched("JPEG", lambda content: content.index(b"\xff\xc0") + 5, large),
        ".jfif": patched("JPEG", lambda content: content.index(b"\xff\xc2") + 5, large, progressive=True),
        ".gif": patched("GIF", lambda content: 6, little),
        ".bmp": patched("BMP", lambda content: 18, header),
        ".webp": b"RIFF\x26\0\0\0WEBPVP8L\x19\0\0\0\x2f\xff\xff\xff\x0f" + bytes(20),
        ".jp2": patched("JPEG2000", lambda content: content.index(b"ihdr") + 4, wide),
        ".j2k": patched("JPEG2000", lambda content: content.index(b"\xff\x51") + 6, wide, no_jp2=True),
        ".avif": patched("AVIF", lambda content: content.index(b"ispe") + 8, struct.pack(">II", 8000, 8000)),
        ".ppm": b"P6 30000 30000 255\n" + bytes(100),
        ".pgm": b"P2 30000 30000 255\n" + b"0 " * 100,
        ".tga": patched("TGA", lambda content: 12, little),
        ".qoi": patched("QOI", lambda content: 4, wide),
        ".sgi": patched("SGI", lambda content: 6, large),
        ".pcx": patched("PCX", lambda content: 8, struct.pack("<HH", 29_999, 29_999)),
        ".dds": patched("DDS", lambda content: 12, header),
        ".ico": _icon(huge_png(8000, 8000)),  # Pillow decodes it before its size can be asked
        ".tif": patched(
            "TIFF", lambda content: content.index(width), width + struct.pack("<IHHII", side, 257, 4, 1, side)
        ),
        ".tiff": tiled_tiff(16_384),
    }
    for suffix, content in bombs.items():
        yield Unusable(f"a bomb, {suffix}", suffix, content, LIMIT)


def _icon(png: bytes) -> bytes:
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(png), 22) + png


def tiled_tiff(side: int) -> bytes:
    """A grey TIFF of 8 × 8 pixels in one tile of ``side`` × ``side``, which unpacks to that many bytes."""
    packer = zlib.compressobj(9)
    tile = b"".join(packer.compress(bytes(side)) for _ in range(side)) + packer.flush()
    numbers = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 0, 325: len(tile)}
    start = 8 + 2 + 12 * len(numbers) + 4
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, number or start) for tag, number in numbers.items())
    return b"II*\0" + struct.pack("<IH", 8, len(numbers)) + fields + bytes(4) + tile


def large() -> Iterator[tuple[str, bytes]]:
    """The suffix and the content of small files that are usable, and take as much memory as an image may."""
    red = Image.new("RGBA", (8000, 8000), (200, 10, 10, 128))
    yield ".png", encoded(red, "PNG", compress_level=1)
    yield ".tif", encoded(red, "TIFF", compression="tiff_adobe_deflate")
    yield ".jpg", encoded(red.convert("CMYK"), "JPEG")
    yield ".jpg", encoded(red.convert("RGB"), "JPEG", progressive=True)
    yield ".webp", encoded(red.resize((6300, 6300)), "WEBP", lossless=True, method=0)
    yield ".avif", encoded(red.resize((7300, 7300)), "AVIF", speed=10)
    yield ".jp2", encoded(red.resize((5100, 5100)), "JPEG2000")


def write_collection(folder: Path, count: int, *, with_large: bool = False) -> dict[str, str]:
    """Write ``count`` images and a metadata file; the names of those that are refused, and what their reasons say."""
    refused: dict[str, str] = {}
    (folder / "images").mkdir(parents=True)
    for number, wrong in enumerate(unusable(), start=1):
        name = f"{number}{wrong.suffix}"
        (folder / "images" / name).write_bytes(wrong.content)
        refused[name] = wrong.reason
    others = large() if with_large else iter(())
    for number in range(len(refused) + 1, count + 1):
        way = USABLE[number % len(USABLE)]
        suffix, content = next(others, None) or (way.suffix, way.content(number))
        (folder / "images" / f"{number}{suffix}").write_bytes(content)
    write_metadata(folder / "MovieGenre.csv", [movie(number) for number in range(1, count + 1)])
    return refused


if __name__ == "__main__":
    wanted = int(sys.argv[2]) if len(sys.argv) > 2 else 700
    print(f"{len(write_collection(Path(sys.argv[1]), wanted, with_large=True))} of {wanted} files are to be refused")
