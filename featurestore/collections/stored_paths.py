"""Paths of files as the text that a store keeps, and back: bytes that are not UTF-8 are escaped."""

import os
import re

# Such a byte is stored as `//` and two hex digits: no path of a file has two slashes in a row.
ESCAPED = re.compile(r"//([89a-f][0-9a-f])")
# How Python represents such a byte in a path, see `os.fsdecode`.
UNDECODABLE = re.compile("[\udc80-\udcff]")
OFFSET = 0xDC00


def to_stored(path: str) -> str:
    """``path`` as text that can be stored."""
    return path if path.isascii() else UNDECODABLE.sub(lambda found: f"//{ord(found[0]) - OFFSET:02x}", path)


def with_slashes(path: str, separator: str = os.sep) -> str:
    """A path of this system with ``/`` between its folders, as it is stored on every system."""
    return path if separator == "/" else path.replace(separator, "/")


def from_stored(text: str) -> str:
    """The path that `to_stored` was given."""
    return ESCAPED.sub(lambda found: chr(OFFSET + int(found[1], 16)), text) if "//" in text else text
