"""Manifests: immutable files, named by their own hash, that list the parts of one table."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore.errors import IntegrityError, reason
from featurestore.files import make_folder, write_all
from featurestore.storage.names import RECORDED, check_recorded, inside, revision_of
from featurestore.storage.objects import Objects, objects_of
from featurestore.storage.parts import HASH_DIGITS, Part
from featurestore.storage.records import damaged, read_record
from featurestore.storage.schemas import CORE_TABLES, embeddings_schema
from featurestore.storage.state import is_count

FOLDER = "manifests"
FORMAT = 1
FLOAT_BYTES = 4


@dataclass(frozen=True)
class Manifest:
    """The contents of one table.

    Parameters
    ----------
    schema
        The columns of each part.
    parts
        The parts in the order in which they were added. A part listed twice counts twice: its rows were added twice.
    """

    schema: pa.Schema
    parts: tuple[Part, ...]

    def to_json(self) -> bytes:
        """The bytes of the file; equal manifests have equal bytes."""
        record = {
            "format": FORMAT,
            "schema": base64.b64encode(self.schema.remove_metadata().serialize()).decode(),
            "parts": [
                [part.path, part.rows, part.size_bytes, part.sha256, part.first_id, part.last_id] for part in self.parts
            ],
        }
        return (json.dumps(record, separators=(",", ":")) + "\n").encode()


def manifest_path(name: str) -> str:
    """The path of the manifest with the hash ``name``, relative to the store."""
    return f"{FOLDER}/{name}.json"


def write_manifests(root: Path, manifests: Mapping[str, Manifest]) -> dict[str, str]:
    """Put ``manifests`` into the store in ``root``, anew where they are there already; returns the hash of each."""
    contents = {table: manifest.to_json() for table, manifest in manifests.items()}
    names = {table: hashlib.sha256(content).hexdigest() for table, content in contents.items()}
    make_folder(inside(root, root / FOLDER))
    write_all(root / FOLDER, {f"{names[table]}.json": content for table, content in contents.items()})
    return names


def read_manifest(place: Path | Objects, table: str, name: str) -> Manifest:
    """Read the manifest of ``table`` with the hash ``name``; ``place`` is the store's folder, or its files.

    Raises
    ------
    IntegrityError
        When it is missing, was changed, or lists anything but parts of the table.
    StoreError
        When it can't be read.
    """
    objects, path = objects_of(place), manifest_path(name)
    try:
        content = read_record(objects, path)
    except FileNotFoundError:
        raise IntegrityError(f"{objects.where(path)} is missing: restore it from a copy of the store") from None
    return parse_manifest(content, table, name, objects.where(path))


def parse_manifest(content: bytes, table: str, name: str, where: str) -> Manifest:
    """Parse a manifest from the bytes of its file; raises as `read_manifest`."""
    if hashlib.sha256(content).hexdigest() != name:
        raise damaged(where, "its bytes don't match its name")
    try:
        record = json.loads(content)
        if record["format"] != FORMAT:
            raise ValueError(f"its format is {str(record['format'])[:20]!r}, this version reads {FORMAT}")
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(record["schema"], validate=True)))
        parts = tuple(_part(fields, table, where) for fields in record["parts"])
        _check_schema(schema, table)
        _check_sizes(schema, parts, table)
    except IntegrityError:
        raise
    except (ValueError, TypeError, LookupError, OSError, RecursionError, pa.ArrowException) as error:
        raise damaged(where, f"it is not a manifest ({reason(error)})") from error
    return Manifest(schema, parts)


def _part(fields: Sequence[Any], table: str, where: str) -> Part:
    """Parse and validate one part of a manifest, which is untrusted."""
    path, rows, size_bytes, sha256, first_id, last_id = fields
    name = check_recorded("part", path, where)
    if not name.startswith(f"{table.split('/')[0]}/") or len(name.split("/")) != len(table.split("/")) + 1:
        raise ValueError(f"it lists {name}, which is not a part of {table}")
    if not is_count(rows) or not is_count(size_bytes):
        raise ValueError(f"it says {rows!r} rows and {size_bytes!r} bytes of {name}")
    if type(sha256) is not str or not RECORDED["manifest"].fullmatch(sha256) or sha256[:HASH_DIGITS] not in name:
        raise ValueError(f"the hash of {name} is {sha256!r}")
    if (first_id, last_id) != (None, None) and not (type(first_id) is type(last_id) is int and first_id <= last_id):
        raise ValueError(f"the range of ids of {name} is {first_id!r} to {last_id!r}")
    return Part(name, rows, size_bytes, sha256, first_id, last_id)


def _check_sizes(schema: pa.Schema, parts: Sequence[Part], table: str) -> None:
    """Refuse more vectors than the bytes of a part hold, which are not compressed: as many are made room for."""
    if revision_of(table) is not None:
        row = FLOAT_BYTES * schema.field("embedding").type.list_size
        for part in parts:
            if part.rows * row > part.size_bytes:
                raise ValueError(f"it says {part.rows} vectors in the {part.size_bytes} bytes of {part.path}")


def _check_schema(schema: pa.Schema, table: str) -> None:
    """Refuse columns other than those that queries and readers expect."""
    if revision_of(table) is None:
        fits = table not in CORE_TABLES or schema.equals(CORE_TABLES[table])
    else:
        kind = schema.field("embedding").type
        fits = pa.types.is_fixed_size_list(kind) and schema.equals(embeddings_schema(kind.list_size))
    if not fits:
        raise ValueError(f"the columns of {table} are {', '.join(schema.names)[:160]}")
