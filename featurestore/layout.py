"""Resolves a state to the parts of its tables; reads logs and one footer a table, never rows of embeddings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.errors import InputError, IntegrityError
from featurestore.parts import Part, read_part
from featurestore.schemas import CORE_TABLES
from featurestore.state import State, write_atomic

CACHE = Path("cache", "layout.json")


@dataclass(frozen=True)
class Layout:
    """A state with the parts of each of its tables: all that the views need.

    ``schemas`` holds the Arrow schema of each table, for those that have no parts; ``dims`` the ``embed_dim`` of
    each backbone's current revision.
    """

    state: State
    parts: Mapping[str, Sequence[Part]]
    schemas: Mapping[str, pa.Schema]
    dims: Mapping[str, int]

    def embedding_parts(self, backbone: str) -> list[Part]:
        """The parts of the current revision of ``backbone``."""
        wanted = {"backbone": backbone, "revision": self.state.revisions[backbone]}
        return [part for part in self.parts.get("embeddings", ()) if part.partition == wanted]

    def files(self, root: Path, name: str) -> list[str]:
        """The absolute paths of the parts of the table ``name``, or of the backbone ``name`` or ``embeddings_NAME``.

        Raises
        ------
        InputError
            When there is neither.
        """
        tables = {*CORE_TABLES, *self.state.tables}
        backbones = {f"embeddings_{backbone}": backbone for backbone in self.state.revisions}
        backbones |= {backbone: backbone for backbone in self.state.revisions}
        if name in tables:  # as in SQL, where the backbone of the same name is `embeddings_NAME`
            folder, parts = root / name, self.parts.get(name, ())
        elif name in backbones:
            folder, parts = root / "embeddings", self.embedding_parts(backbones[name])
        else:
            known = sorted({*tables, *self.state.revisions})
            close = get_close_matches(name, known, n=2)
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"
            raise InputError(f"the store has no table or backbone {name!r}: {hint}")
        return [str((folder / part.path).resolve()) for part in parts]


def read_layout(root: Path, state: State) -> Layout:
    """The parts of every table of ``state`` in the store ``root``.

    Raises
    ------
    IntegrityError
        When a log is missing or damaged.
    """
    parts = _read_cache(root, state) or list_state(root, state)
    schemas = {
        table: _schema(root / table, listed[0], state.tables[table])
        for table, listed in parts.items()
        if table not in CORE_TABLES and listed
    }
    layout = Layout(state, parts, schemas, {})
    return replace(layout, dims=_dims(root, layout))


def list_state(root: Path, state: State) -> dict[str, list[Part]]:
    """The parts of every table of ``state``, from the logs."""
    from featurestore.tables import list_parts  # its library starts threads: only where the cache does not do

    return {table: list_parts(root / table, version) for table, version in state.tables.items()}


def write_cache(root: Path, layout: Layout) -> None:
    """Keep the parts of the newest state beside it: a reader of that state need not replay the logs."""
    record = {
        "state": layout.state.id,
        "tables": dict(layout.state.tables),
        "parts": {
            table: [[part.path, part.rows, part.size_bytes, dict(part.partition)] for part in parts]
            for table, parts in layout.parts.items()
        },
    }
    body = json.dumps(record).encode()
    write_atomic(root / CACHE, f"{_digest(body)}\n".encode() + body)


def is_published(root: Path, state: State) -> bool:
    """Whether `write_cache`, the last step behind a commit, has been done for this state."""
    record = _cached(root)
    return record is not None and bool(record["state"] == state.id)


def _read_cache(root: Path, state: State) -> dict[str, list[Part]] | None:
    """What `write_cache` kept, if it is of this very state; the logs are the truth, this is disposable."""
    record = _cached(root)
    if record is None or record["tables"] != dict(state.tables):
        return None
    return {table: [Part(*fields) for fields in parts] for table, parts in record["parts"].items()}


def _cached(root: Path) -> dict[str, Any] | None:
    """The record of `write_cache`; None where nobody kept it, or not one bit of it may be trusted."""
    try:
        digest, _, body = (root / CACHE).read_bytes().partition(b"\n")
    except OSError:
        return None
    if digest.decode("latin-1") != _digest(body):
        return None
    record: dict[str, Any] = json.loads(body)
    return record


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _schema(folder: Path, part: Part, version: int) -> pa.Schema:
    """The schema of a table as a part tells, or, when that is damaged, the log: the other tables stay readable."""
    try:
        return pq.read_schema(folder / part.path)
    except (OSError, pa.ArrowException):
        from featurestore.tables import logged_schema

        return logged_schema(folder, version)


def _dims(root: Path, layout: Layout) -> dict[str, int]:
    """The ``embed_dim`` of each current revision, from its record, or, when that is damaged, from its parts."""
    dims = {}
    try:
        for part in layout.parts["backbones"] if layout.state.revisions else ():
            rows = read_part(root / "backbones" / part.path, ["backbone", "revision", "embed_dim"]).to_pylist()
            for row in rows:
                if layout.state.revisions.get(row["backbone"]) == row["revision"]:
                    dims[row["backbone"]] = row["embed_dim"]
    except IntegrityError:
        for backbone in layout.state.revisions:
            schema = pq.read_schema(root / "embeddings" / layout.embedding_parts(backbone)[0].path)
            dims[backbone] = schema.field("embedding").type.list_size
    return dims
