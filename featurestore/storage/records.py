"""Records: small JSON files with a checksum of their fields; the meaning of the fields is defined elsewhere."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from featurestore.errors import IntegrityError, reason
from featurestore.storage.objects import Objects

CHECKSUM = "sha256"
# Maximum bytes of a record, far more than in any store.
RECORD_BYTES = 64 * 2**20


def to_record(fields: Mapping[str, Any]) -> bytes:
    """Serialize ``fields`` and their checksum as one JSON object, in the order given."""
    return (json.dumps({**fields, CHECKSUM: checksum(fields)}, indent=1) + "\n").encode()


def from_record(content: bytes, where: str) -> dict[str, Any]:
    """Parse the record ``content``, verify its checksum and return its fields.

    Raises
    ------
    IntegrityError
        When it is not a record, or any bit of it was changed; the message quotes ``where``.
    """
    try:
        fields = json.loads(content.decode("utf-8"))
        said = fields.pop(CHECKSUM)
        if said != checksum(fields):
            raise ValueError("its fields don't match its checksum")
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise damaged(where, reason(error)) from error
    return dict(fields)


def damaged(where: str, why: str) -> IntegrityError:
    """The error for a damaged record."""
    return IntegrityError(f"{where} is damaged: {why[:200]}; restore it from a copy of the store")


def checksum(fields: Mapping[str, Any]) -> str:
    """SHA-256 of ``fields`` as JSON with sorted keys, 64 hex digits."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def read_record(objects: Objects, name: str) -> bytes:
    """The bytes of the record ``name`` of a store; raises as `Objects.read`."""
    return b"".join(objects.read(name, limit=RECORD_BYTES))
