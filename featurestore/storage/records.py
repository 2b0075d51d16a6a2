"""Records: small JSON files that carry a checksum of what they say; it owns the checksum, not the fields."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from featurestore.errors import IntegrityError, reason
from featurestore.storage.objects import Objects

CHECKSUM = "sha256"
# Bytes of a record: many times those of the largest store.
RECORD_BYTES = 64 * 2**20


def to_record(fields: Mapping[str, Any]) -> bytes:
    """``fields``, which JSON can hold, with their checksum: one JSON object, in the order given."""
    return (json.dumps({**fields, CHECKSUM: checksum(fields)}, indent=1) + "\n").encode()


def from_record(content: bytes, where: str) -> dict[str, Any]:
    """The fields of the record ``content``, compared with its checksum.

    Raises
    ------
    IntegrityError
        When it is no such record, or one bit of it was changed; ``where`` is quoted.
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
    """The error of a record that is not what this package writes."""
    return IntegrityError(f"{where} is damaged: {why[:200]}; restore it from a copy of the store")


def checksum(fields: Mapping[str, Any]) -> str:
    """SHA-256 of ``fields`` as JSON with sorted keys, 64 hex digits."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def read_record(objects: Objects, name: str) -> bytes:
    """The bytes of the record ``name`` of a store; raises as `Objects.read`."""
    return b"".join(objects.read(name, limit=RECORD_BYTES))
