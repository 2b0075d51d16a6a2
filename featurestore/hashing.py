"""The identity of a file: the hash of its bytes."""

import hashlib
from pathlib import Path

from featurestore.files import open_file


def file_hash(path: Path) -> str:
    """SHA-256 of the bytes of ``path``, 64 hex digits."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
