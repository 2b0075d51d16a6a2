"""Defines the errors that this package raises on purpose; each can be understood without a traceback.

    FeatureStoreError
    ├── InputError            a file, folder or argument given by the user is not what was expected
    │   ├── MetadataError     the metadata file
    │   ├── ImageError        one image: becomes a quarantine row, never stops a run
    │   └── EmbeddingError    a vector that is NaN, of the wrong length, or without an image
    ├── BackboneError         a backbone that is unknown, lacks its weights or returns the wrong shape
    ├── StoreError            the store itself
    │   ├── StoreNotFound     there is no store at that path
    │   ├── StoreLocked       another process is writing
    │   ├── Conflict          another writer has changed what this change rests on
    │   ├── AccessDenied      an object store refuses it
    │   └── IntegrityError    bytes on disk are not those that were written
    ├── QueryError            user SQL that can't be run
    ├── ClusterError          a cluster that can't be reached, or that failed
    │   └── WorkerLost        a worker of it whose process or node ended
    └── MissingExtra          an optional dependency that is not installed

The message is one sentence: what was got, what was expected, what to do. It may quote untrusted text (a file name, a
field of a table), so it is shown without line breaks and control characters.
"""

import textwrap
from collections.abc import Iterable
from difflib import get_close_matches

from featurestore.terminal import visible

# Maximum bytes of a message; the middle of a longer one is cut, because what to do is at its end.
LONGEST = 1900
# Names that are listed in a message, characters of one that is compared with others, and those of a short one.
LISTED, LONGEST_NAME, SHORT_NAME = 20, 63, 4


class FeatureStoreError(Exception):
    """Base class of all errors; the command line prints it in one line and exits with 1."""

    def __str__(self) -> str:
        """The message in one line; what can't be printed is escaped."""
        return limited(super().__str__())


def limited(text: str, *, keep: str = "") -> str:
    """``text`` in at most `LONGEST` bytes; what can't be printed is escaped, except the characters in ``keep``."""
    if len(text) > LONGEST:  # before escaping, which takes a second for ten million characters
        text = f"{text[:LONGEST]} … {text[-LONGEST:]}"
    content = visible(text, keep=keep, spaces=False).encode()
    if len(content) <= LONGEST:
        return content.decode()
    start, end = content[: LONGEST * 2 // 3], content[-LONGEST // 4 :]
    return f"{start.decode(errors='ignore')} … {end.decode(errors='ignore')}"


def reason(error: BaseException) -> str:
    """The first line of a third-party error's message, or its type if there is no message."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # a third-party `__str__` may raise anything
        lines = []
    return lines[0] if lines else type(error).__name__


def shortened(text: str, length: int = 160) -> str:
    """``text`` in one line of at most ``length`` characters, cut between words.

    >>> shortened("incompatible shapes in the node StatefulPartitionedCall", 30)
    'incompatible shapes in the …'
    """
    return textwrap.shorten(text, length, placeholder=" …")


def in_one_line(error: Exception) -> str:
    """The message of a library's error in one line, without the arrows that some use for causes."""
    return " ".join(str(error).replace("↳", "").split())


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown ``name``: the similarly spelt names among ``known``, or a list of them."""
    listed = sorted(known)
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return alike(name, listed) or f"it has: {', '.join(listed[:LISTED]) or 'none'}{more}"


def alike(name: str, known: Iterable[str]) -> str:
    """``did you mean …?`` if one of ``known`` is spelt similarly to ``name``, else empty."""
    spelt = {other.lower(): other for other in known}
    # Of a short name one letter is much; of a longer one that much would be another word.
    cutoff = 0.6 if len(name) <= SHORT_NAME else 0.7
    found = get_close_matches(name[:LONGEST_NAME].lower(), spelt, cutoff=cutoff)
    return f"did you mean {' or '.join(repr(spelt[other]) for other in found)}?" if found else ""


class InputError(FeatureStoreError):
    """A file, folder or argument given by the user is not what was expected."""


class MetadataError(InputError):
    """The metadata file can't be read as a table with a row for each image."""


class ImageError(InputError):
    """One image can't be used; the message is the reason kept in its quarantine row."""


class ImageUnread(ImageError):
    """One image can't be used for a reason that is not in it: it is to be read again at the next scan."""


class ImageNeedsExtra(ImageUnread):
    """One image has a format that needs a package that is not installed: it is to be read again, once it may be."""


class EmbeddingError(InputError):
    """A vector can't be stored: NaN, wrong length, no such image."""


class BackboneError(FeatureStoreError):
    """A backbone is unknown, lacks its weights or returns the wrong shape."""


class StoreError(FeatureStoreError):
    """The store can't do what was requested."""


class StoreNotFound(StoreError):
    """There is no store at that path."""


class StoreLocked(StoreError):
    """Another process is writing to the store."""


class Conflict(StoreError):
    """Another writer has changed what this change rests on, and nothing was stored: run the command again."""


class AccessDenied(StoreError):
    """An object store refuses to read or to write there."""


class IntegrityError(StoreError):
    """Bytes on disk are not the bytes that were written."""


class QueryError(FeatureStoreError):
    """User SQL can't be run."""


class ClusterError(FeatureStoreError):
    """A cluster can't be reached, or does not do what was requested."""


class WorkerLost(ClusterError):
    """The process or the node of a worker ended before its work was done."""


class MissingExtra(FeatureStoreError, ImportError):
    """An optional dependency is not installed."""
