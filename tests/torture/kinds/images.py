"""Images that are cut short, of every mode, of other formats, of other names, or no images at all."""

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from support import jpeg

from torture.inputs import Accepted, Kind, Quarantined, Refused, Work

FACTS = "SELECT width, height, mode, status FROM images WHERE ImgName = '777.jpg'"
GOOD = jpeg(777)
RAMP = np.linspace(0, 255, 64).reshape(8, 8)
FRAMES = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
UNKNOWN = "no image format is known"
UNDECODABLE = "can't be decoded"


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """``image`` as a file of that format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _file(name: str, content: bytes, expect: Accepted | Quarantined, *, file: str | bytes = "777.jpg") -> Kind:
    """``content`` as one more file of the folder."""

    def make(work: Work) -> list[str]:
        with open(os.path.join(os.fsencode(work.images), os.fsencode(file)), "wb") as target:
            target.write(content)
        return work.ingest()

    return Kind("images", name, make, expect)


def _entry(
    name: str, add: Callable[[Path], object], expect: Accepted | Quarantined | Refused, *, needs: str = ""
) -> Kind:
    """Something else than a file, which ``add`` puts into the folder."""

    def make(work: Work) -> list[str]:
        add(work.images)
        return work.ingest()

    return Kind("images", name, make, expect, needs)


def _taken(width: int, height: int, mode: str) -> Accepted:
    return Accepted(FACTS, [(width, height, mode, "ok")])


def markers(content: bytes) -> Iterator[tuple[int, int]]:
    """Place and code of each marker of a baseline JPEG."""
    place = 0
    while place < len(content):
        code = content[place + 1]
        yield place, code
        place += 2
        if code == 0xD9:
            return
        if code == 0xD8:
            continue
        place += int.from_bytes(content[place : place + 2])
        while code == 0xDA and not (content[place] == 0xFF and content[place + 1]):  # the scan: up to the next marker
            place += 1


def _truncated() -> Iterator[Kind]:
    for place, code in markers(GOOD):
        expect = Quarantined(f"{UNKNOWN}|{UNDECODABLE}" if place else "the file is empty")
        yield _file(f"cut before the marker {code:02X} at {place}", GOOD[:place], expect)
        if code != 0xD9:
            yield _file(
                f"cut after the marker {code:02X} at {place}",
                GOOD[: place + 2],
                Quarantined(f"{UNKNOWN}|{UNDECODABLE}"),
            )
    yield _file("cut in the scan", GOOD[:-300], Quarantined("truncated"))
    yield _file("a byte is missing at the end", GOOD[:-1], Quarantined("truncated"))


def png(width: int, height: int, raw: bytes) -> bytes:
    """A PNG of one bit a pixel with that header and those scan lines."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b"")


def _bomb(folder: Path) -> None:
    """30,000 × 30,000 white pixels in 0.5 MB: 2.7 GB as RGB."""
    (folder / "777.jpg").write_bytes(png(30_000, 30_000, bytes(30_000 * (1 + 30_000 // 8))))


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _modes() -> Iterator[Kind]:
    grey = Image.fromarray(RAMP.astype(np.uint8))
    palette = grey.convert("P")
    yield _file("CMYK", encoded(grey.convert("RGB").convert("CMYK"), "JPEG"), _taken(8, 8, "CMYK"))
    yield _file("16-bit PNG", encoded(Image.fromarray((RAMP * 257).astype(np.uint16)), "PNG"), _taken(8, 8, "I;16"))
    yield _file("float TIFF", encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), _taken(8, 8, "F"))
    for word, value in (("NaN", np.nan), ("infinity", np.inf)):
        pixels = RAMP.astype(np.float32)
        pixels[0, 0] = value
        yield _file(f"float TIFF with {word}", encoded(Image.fromarray(pixels), "TIFF"), Quarantined("NaN or infinity"))
    below = Image.fromarray(RAMP.astype(np.int32) - 100)
    yield _file("32-bit TIFF below zero", encoded(below, "TIFF"), _taken(8, 8, "I"))
    yield _file("palette with one transparent colour", encoded(palette, "PNG", transparency=0), _taken(8, 8, "P"))
    yield _file("palette with alpha", encoded(palette, "PNG", transparency=bytes(range(256))), _taken(8, 8, "P"))
    yield _file("grey with alpha", encoded(Image.new("LA", (4, 4)), "PNG"), _taken(4, 4, "LA"))
    yield _file("one bit", encoded(Image.new("1", (4, 4)), "PNG"), _taken(4, 4, "1"))
    yield _file("Lab TIFF", encoded(Image.new("LAB", (4, 4)), "TIFF"), _taken(4, 4, "LAB"))
    animated = {"save_all": True, "append_images": FRAMES[1:]}
    yield _file("animated GIF", encoded(FRAMES[0], "GIF", **animated), _taken(8, 8, "P"))
    yield _file("animated WebP", encoded(FRAMES[0], "WEBP", **animated), _taken(8, 8, "RGB"))
    yield _file("animated PNG", encoded(FRAMES[0], "PNG", **animated), _taken(8, 8, "RGB"))
    yield _file("two pictures in one JPEG", encoded(FRAMES[0], "MPO", **animated), _taken(8, 8, "RGB"))
    turned = Image.new("RGB", (8, 4))
    yield _file("turned by EXIF", encoded(turned, "JPEG", exif=_exif(6)), _taken(8, 4, "RGB"))
    yield _file("an orientation that is none", encoded(turned, "JPEG", exif=_exif(999)), _taken(8, 4, "RGB"))
    torn = b"Exif\0\0II*\0\xff\xff\xff\xff"
    yield _file("damaged EXIF", encoded(turned, "JPEG", exif=torn), _taken(8, 4, "RGB"))
    yield _file("1 × 1", encoded(Image.new("RGB", (1, 1)), "JPEG"), _taken(1, 1, "RGB"))
    yield _file("1 × 60,000", encoded(Image.new("RGB", (1, 60_000)), "PNG"), _taken(1, 60_000, "RGB"))
    yield _file("bytes behind the end", GOOD + b"and more" * 100, _taken(46, 67, "RGB"))


def _contents() -> Iterator[Kind]:
    picture = encoded(Image.fromarray(RAMP.astype(np.uint8)), "PNG")
    data = picture.index(b"IDAT") + 8
    flipped = picture[:data] + bytes([picture[data] ^ 0xFF]) + picture[data + 1 :]
    small = {form: encoded(FRAMES[0], form) for form in ("GIF", "WEBP", "BMP", "TIFF")}
    for name, content, reason in (
        ("zero bytes", b"", "the file is empty"),
        ("one byte", b"\xff", UNKNOWN),
        ("HTML", b"<!DOCTYPE html><html><body>404</body></html>", UNKNOWN),
        ("SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>', UNKNOWN),
        ("PDF", b"%PDF-1.7\n", UNKNOWN),
        ("PostScript, which would be run by another program", encoded(FRAMES[0], "EPS"), UNKNOWN),
        ("ZIP", b"PK\x03\x04" + bytes(40), UNKNOWN),
        ("PNG with a wrong checksum", picture[:30] + b"\0" + picture[31:], UNKNOWN),
        ("PNG with damaged pixels", flipped, UNDECODABLE),
        ("PNG of no width", png(0, 8, b""), f"{UNKNOWN}|{UNDECODABLE}"),
        ("GIF cut short", small["GIF"][:20], UNKNOWN),
        ("WebP cut short", small["WEBP"][:40], UNDECODABLE),
        ("BMP cut short", small["BMP"][:60], "truncated"),
        ("TIFF cut short", small["TIFF"][:100], f"{UNKNOWN}|{UNDECODABLE}"),
        (
            "GIF that claims 65,535 × 65,535",
            b"GIF89a" + b"\xff" * 4 + bytes(3) + b"," + bytes(4) + b"\xff" * 4 + b"\0\2\2D\1\0;",
            "limit",
        ),
    ):
        yield _file(name, content, Quarantined(reason))
    yield _file("a PNG named .jpg", picture, _taken(8, 8, "L"))
    yield _file(
        "a JPEG named .png",
        GOOD,
        Accepted("SELECT status FROM images WHERE ImgName = '777.png'", [("ok",)]),
        file="777.png",
    )
    # Pillow leaves the lines that are missing black, and tells nobody.
    yield _file("PNG with too few lines", png(80, 80, bytes(11)), _taken(80, 80, "1"))
    yield _entry("a bomb of 30,000 × 30,000", _bomb, Quarantined("over the limit|more pixels than the limit"))
    yield _entry(
        "2 GiB of nothing",
        lambda folder: os.truncate(_touch(folder / "777.jpg"), 2 << 30),
        Quarantined("more than the limit of .* bytes"),
    )


def _touch(path: Path) -> Path:
    path.touch()
    return path


def _link(target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "777.jpg").symlink_to(target)


def _within(folder: Path) -> None:
    (folder / "originals").mkdir()
    (folder / "originals" / "a.jpg").write_bytes(GOOD)
    (folder / "777.jpg").symlink_to("originals/a.jpg")


def _outside(folder: Path) -> None:
    (folder.parent / "outside.jpg").write_bytes(GOOD)
    (folder / "777.jpg").symlink_to("../outside.jpg")


def _socket(folder: Path) -> None:
    import socket

    before = os.getcwd()
    os.chdir(folder)  # its path may be longer than a socket's may be
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("777.jpg")
    os.chdir(before)


def _entries() -> Iterator[Kind]:
    nothing = Accepted("SELECT count(*) FROM images", [(6,)])
    yield _entry("a link out of the folder", _outside, Quarantined("leads out of the folder"))
    yield _entry("a link to a device", _link("/dev/zero"), Quarantined("leads out of the folder"))
    yield _entry("a link to nothing", _link("nowhere.jpg"), Quarantined("No such file"))
    yield _entry("a link to itself", _link("777.jpg"), Quarantined("[Ss]ymbolic link"))
    yield _entry("a link within the folder", _within, _taken(46, 67, "RGB"))
    yield _entry("a link to the folder", _link("."), Quarantined("a folder|leads out"))
    yield _entry("a folder named 777.jpg", lambda folder: (folder / "777.jpg").mkdir(), nothing)
    yield _entry(
        "a pipe named 777.jpg", lambda folder: os.mkfifo(folder / "777.jpg"), Quarantined("a pipe, socket or device")
    )
    yield _entry("a socket named 777.jpg", _socket, Quarantined("a pipe, socket or device"))
    root = "the superuser may read anything" if os.geteuid() == 0 else ""
    yield _entry("a file that may not be read", _unreadable, Quarantined("Permission denied"), needs=root)


def _unreadable(folder: Path) -> None:
    (folder / "777.jpg").write_bytes(GOOD)
    (folder / "777.jpg").chmod(0)


def _names() -> Iterator[Kind]:
    number = Quarantined("the name is not a number")
    for file in (
        *("poster.jpg", "-5.jpg", "1e3.jpg", "7.5.jpg", "2147483648.jpg", "9" * 200 + ".jpg", " 777.jpg", "777 .jpg"),
        *(
            "it's 7.jpg",
            '7"7.jpg',
            "7\n8.jpg",
            "7\x1b[2J.jpg",
            "٧٧.jpg",
            "７７.jpg",
            "7².jpg",
            ".777.jpg",
            "%2e%2e%2f7.jpg",
        ),
        *("'; DROP TABLE images; --.jpg", "0x7.jpg", "+7.jpg", "7_7.jpg", "..7.jpg", "𝟕.jpg", "\u202e7.jpg"),
    ):
        yield _file(f"named {file[:40]!r}", GOOD, Quarantined(number.reason, file), file=file)
    broken = b"7\xff.jpg"
    yield _file("a name that is not UTF-8", GOOD, Quarantined(number.reason, "7\\xff.jpg"), file=broken)
    for file in ("101.JPG", "101.jpeg", "101.png", "0101.jpg", "00000000000000000101.jpg"):
        # The first by name is kept; whichever it is, one file of the two is named and the other one used.
        kept, other = sorted(("101.jpg", file))
        yield _file(f"{file} beside 101.jpg", GOOD, Quarantined(f"already used by {kept}", other), file=file)
    for file in ("777.JPG", "777.jpeg", "00777.jpg", "2147483647.jpg"):
        query = f"SELECT ImgId, status FROM images WHERE ImgName = '{file}'"
        yield _file(f"named {file}", GOOD, Accepted(query, [(int(file.split(".")[0]), "ok")]), file=file)
    for file in ("777.jpg.part", "777.jpg~", "777", "Thumbs.db", ".jpg"):
        yield _file(f"another file, {file}", GOOD, Accepted("SELECT count(*) FROM images", [(6,)]), file=file)


def _folders() -> Iterator[Kind]:
    def dots(work: Work) -> list[str]:
        return work.ingest(images=work.images / ".." / "posters")

    same = Accepted("SELECT count(*), count(DISTINCT source) FROM images", [(6, 1)])
    yield Kind("images", "the folder by way of ../", dots, same)

    def twice(work: Work) -> list[str]:
        return [*work.ingest(), "--images", str(work.images)]

    yield Kind("images", "the same folder twice", twice, Accepted("SELECT count(*) FROM images", [(6,)]))
    for name, make, sentence in (
        ("an empty folder", lambda work: work.folder / "none", "there is no folder"),
        ("a name that is too long", lambda work: work.folder / ("x" * 300), "too long"),
        ("a file in the place of the folder", lambda work: work.metadata, "is a file"),
    ):
        yield Kind("images", name, lambda work, make=make: work.ingest(images=make(work)), Refused(sentence))


KINDS = [*_truncated(), *_modes(), *_contents(), *_entries(), *_names(), *_folders()]
