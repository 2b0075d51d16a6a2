"""The identity of a file: the hash of its bytes."""

import hashlib
from pathlib import Path


def file_hash(path: Path) -> str:
    """SHA-256 of the bytes of ``path``, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
