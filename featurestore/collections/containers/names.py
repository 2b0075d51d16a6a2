"""Names of images in containers: made safe, made unique, and made up where there are none; they are never opened."""

import unicodedata
from collections.abc import Sequence

# The first bytes of an image file, and the usual suffix.
SIGNATURES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", ".jp2"),
)
# The brands of an ISO media file, at byte 8 after `ftyp`, that hold one image.
BRANDS = {b"avif": ".avif", b"avis": ".avif", b"heic": ".heic", b"heix": ".heic", b"mif1": ".heic"}
SIGNATURE_BYTES = 16
SPLITS = {"train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation"}
SPLITS |= {"dev": "validation", "test": "test", "testing": "test"}


def suffix_of(start: bytes) -> str:
    """The usual suffix of the image file that begins with ``start``; empty where it is none that is known."""
    for signature, suffix in SIGNATURES:
        if start.startswith(signature):
            return suffix
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return ".webp"
    if start[4:8] == b"ftyp":
        return BRANDS.get(start[8:12], "")
    # Two letters alone are weak: the four bytes that no BMP uses must be zero.
    return ".bmp" if start[:2] == b"BM" and start[6:10] == bytes(4) else ""


def split_of(name: str) -> str | None:
    """The split that a file's or a folder's name says: `train-00000-of-00002.parquet` is of ``train``.

    Returns ``train``, ``validation`` (also for ``val``, ``valid`` and ``dev``), ``test`` or None.
    """
    stem = name.replace("\\", "/").rpartition("/")[2].partition(".")[0].lower()
    first = stem.replace("_", "-").partition("-")[0]
    return SPLITS.get(first)


def clean_text(text: str) -> str:
    """``text`` as UTF-8 can hold it: surrogates (bytes that were no UTF-8) and NUL are escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def clean_name(name: str) -> str:
    """A path below some folder, in NFC: ``\\`` becomes ``/``; a leading ``/`` or drive, ``.`` and ``..`` are left out.

    Empty when nothing is left.
    """
    text = unicodedata.normalize("NFC", clean_text(name.replace("\\", "/")))
    if text[1:3] == ":/" and text[0].isalpha():
        text = text[2:]
    return "/".join(part for part in text.split("/") if part.strip() not in ("", ".", ".."))


def unique_names(names: Sequence[str]) -> tuple[list[str], int]:
    """The names, each later one of equal names with ``~2``, ``~3`` … before its suffix; and how many got that."""
    taken: set[str] = set(names)
    if len(taken) == len(names):
        return list(names), 0
    seen: dict[str, int] = {}
    result = []
    for name in names:
        new, count = name, seen.get(name, 0) + 1
        if count > 1:
            folder, slash, last = name.rpartition("/")
            stem, dot, suffix = last.rpartition(".")
            stem, ending = (stem, dot + suffix) if stem else (last, "")
            while (new := f"{folder}{slash}{stem}~{count}{ending}") in taken:
                count += 1
            taken.add(new)
        seen[name] = count
        result.append(new)
    return result, sum(old != new for old, new in zip(names, result, strict=True))
