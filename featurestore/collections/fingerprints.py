"""Tells by size, times and inode whether a file is unchanged since it was read; it reads none.

For an object on an object store, `object_folder` gives what stands for them.
"""

import os
from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featurestore.collections.object_folder import ObjectEntry

FINGERPRINT = ("size_bytes", "mtime_ns", "ctime_ns", "inode")
# The time of change that no file has: its entry is not used, since the file is read again at the next scan.
NEVER = -(1 << 63)


def fingerprints(entries: Sequence[os.DirEntry[str] | ObjectEntry]) -> NDArray[np.int64]:
    """The fields in `FINGERPRINT`, one row for each of ``entries``: ``(n, fields)`` int64."""
    marks = array("q")
    for entry in entries:
        marks.extend(entry.mark if isinstance(entry, ObjectEntry) else _fingerprint(entry.path))
    return np.asarray(marks, np.int64).reshape(-1, len(FINGERPRINT))


def _fingerprint(path: str) -> tuple[int, int, int, int]:
    """The fields in `FINGERPRINT` of the file, or of a link that leads nowhere; else such as are always read again."""
    # Not `entry.stat`: the entry would cache the result, 0.8 kB per file
    for look in (os.stat, os.lstat):  # of a link's target, which may change while the link does not
        try:
            status = look(path)
        except OSError:
            continue
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
    return 0, NEVER, NEVER, 0  # removed since it was listed, or its path is too long: reading it says so
