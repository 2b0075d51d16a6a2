"""Reads a metadata file into memory, unpacked and as UTF-8, whatever its encoding; it knows no rows or columns."""

import codecs
import gzip
import io
import zlib
from pathlib import Path

from featurestore.collections.limits import MAX_TABLE_BYTES as MAX_BYTES
from featurestore.errors import MetadataError
from featurestore.files import read_file, why

EXPECTED = "expected a table as CSV, TSV, JSON or Parquet"
# Files that are often named instead of a table, by their first bytes.
MISTAKEN = {
    b"PK\x03\x04": "is a zip file or an Excel workbook: unpack it, or save the sheet as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook: save the sheet as CSV",
    b"version https://git-lfs.github.com/": "is only a pointer to a file in Git LFS: run `git lfs pull`",
    b"<!doctype html": f"is a web page: {EXPECTED}; download it again",
    b"<html": f"is a web page: {EXPECTED}; download it again",
}
# Code page 1252 has letters and quotation marks where latin-1 has control characters; the five bytes that it lacks
# are read as in latin-1.
CP1252 = "".join(bytes([byte]).decode("cp1252", errors="ignore") or chr(byte) for byte in range(256))
# How many bytes tell UTF-16 without a byte-order mark.
SAMPLE = 4096


def read_content(path: Path) -> bytes:
    """The bytes of the file, unpacked if they are gzip, whatever its name.

    Raises
    ------
    MetadataError
        When it can't be read, is a damaged gzip file, is empty or too large.
    """
    try:
        content = read_file(path, limit=MAX_BYTES, pipes=True)
    except FileNotFoundError:
        raise MetadataError(f"there is no metadata file {str(path)!r}: {EXPECTED}") from None
    except IsADirectoryError:
        raise MetadataError(f"{str(path)!r} is a folder: name the metadata file in it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise MetadataError(f"{str(path)!r} can't be read ({why(error)}): name a readable file") from error
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(MAX_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise MetadataError(f"{str(path)!r} is a damaged gzip file ({error}): download it again") from error
        if len(content) > MAX_BYTES:
            raise MetadataError(f"{str(path)!r} unpacks to more than {MAX_BYTES:,} bytes: {EXPECTED}")
    if not content:
        raise MetadataError(f"{str(path)!r} is empty: {EXPECTED}")
    return content


def as_text(content: bytes, path: Path) -> tuple[bytes, str]:
    """``content`` as UTF-8 without a byte-order mark, with one line end at its end, and the encoding it had.

    The encoding is ``utf-8``, ``utf-16`` or, for anything else without NUL bytes, ``cp1252``.

    Raises
    ------
    MetadataError
        When it is empty or not text.
    """
    start = content[:64].lstrip().lower()
    for magic, what in MISTAKEN.items():
        if start.startswith(magic.lower()):
            raise MetadataError(f"{str(path)!r} {what}")
    content, encoding = _decode(content)
    # Arrow rejects a header without a line end, and takes only the first line as the header.
    content = content.removeprefix(codecs.BOM_UTF8).strip(b"\r\n") + b"\n"
    if content.isspace():
        raise MetadataError(f"{str(path)!r} is empty: {EXPECTED}")
    if b"\x00" in content:
        raise MetadataError(f"{str(path)!r} is not a text file: {EXPECTED}")
    return content, encoding


def read_text(path: Path) -> tuple[bytes, str]:
    """`read_content` and `as_text`: the file as UTF-8, and the encoding it had."""
    return as_text(read_content(path), path)


def _decode(content: bytes) -> tuple[bytes, str]:
    """``content`` as UTF-8; bytes that are not text are returned with their NULs."""
    wide = _utf16(content)
    if wide is not None:
        return wide.encode(), "utf-16"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        text, _ = codecs.charmap_decode(content, "strict", CP1252)
        return text.encode(), "cp1252"
    return content, "utf-8"


def _utf16(content: bytes) -> str | None:
    """The text of UTF-16 with a byte-order mark, or without one where the bytes leave no doubt; None for others."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        names = ("utf-16",)
    else:
        first, second = content[:SAMPLE:2], content[1:SAMPLE:2]
        zeros = (first.count(0), second.count(0))
        # In a table, at least every third character is a digit, a separator or an unaccented letter.
        if min(zeros) > 0 or max(zeros) * 3 < len(first):
            return None
        names = ("utf-16-be",) if zeros[0] else ("utf-16-le",)
    try:
        return content.decode(names[0])
    except UnicodeDecodeError:
        return None
