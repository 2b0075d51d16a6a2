"""Resolves a state to the parts of its tables; reads logs and one footer a table, never rows of embeddings."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.errors import InputError, IntegrityError
from featurestore.files import write_atomic
from featurestore.storage.names import nearest
from featurestore.storage.parts import Part, digest, read_part, recorded_part
from featurestore.storage.schemas import CORE_TABLES
from featurestore.storage.state import State

CACHE = Path("cache", "layout.json")


@dataclass(frozen=True)
class Layout:
    """A state with the parts of each of its tables: all that the views need."""

    state: State
    _parts: Mapping[str, Sequence[Part]]
    _schemas: Mapping[str, pa.Schema]
    _dims: Mapping[str, int]

    @property
    def tables(self) -> list[str]:
        """The tables that every store has, `embeddings` among them, and those of other programs in this one."""
        return list({**CORE_TABLES, **self._schemas})

    def parts(self, table: str) -> list[Part]:
        """The parts of ``table``; none of one that has no rows yet. Of `embeddings`, those of all revisions."""
        return list(self._parts.get(table, ()))

    def schema(self, table: str) -> pa.Schema:
        """The Arrow schema of ``table``."""
        return CORE_TABLES[table] if table in CORE_TABLES else self._schemas[table]

    def revisions(self) -> list[tuple[str, str]]:
        """Each backbone and revision that has vectors here, the ones that no view shows among them."""
        found = {(part.partition["backbone"], part.partition["revision"]) for part in self.parts("embeddings")}
        return sorted(found)

    def revision_parts(self, backbone: str, revision: str) -> list[Part]:
        """The parts of one revision of ``backbone``."""
        wanted = {"backbone": backbone, "revision": revision}
        return [part for part in self.parts("embeddings") if part.partition == wanted]

    def embedding_parts(self, backbone: str) -> list[Part]:
        """The parts of the current revision of ``backbone``."""
        return self.revision_parts(backbone, self.state.revisions[backbone])

    def dim(self, backbone: str) -> int:
        """The ``embed_dim`` of the current revision of ``backbone``."""
        return self._dims[backbone]

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
            folder, parts = root / name, self.parts(name)
        elif name in backbones:
            folder, parts = root / "embeddings", self.embedding_parts(backbones[name])
        else:
            known = {*tables, *self.state.revisions}
            raise InputError(f"the store has no table or backbone {name!r} ({nearest(name, known)})")
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
        table: _schema(root / table, listed, state.tables[table])
        for table, listed in parts.items()
        if table not in CORE_TABLES and listed
    }
    layout = Layout(state, parts, schemas, {})
    return replace(layout, _dims=_dims(root, layout))


def list_state(root: Path, state: State) -> dict[str, list[Part]]:
    """The parts of every table of ``state``, from the logs; raises as `list_table`."""
    return {table: list_table(root, state, table) for table in state.tables}


def list_table(root: Path, state: State, table: str) -> list[Part]:
    """The parts of one table of ``state``, from its log.

    Raises
    ------
    IntegrityError
        When the log can't be read, or says something else than when the state was written.
    """
    from featurestore.storage.tables import list_parts  # its library starts threads: only where the cache does not do

    parts = list_parts(root / table, state.tables[table])
    if not _agrees(state, table, parts):
        raise IntegrityError(
            f"the log of {root / table} is damaged: its version {state.tables[table]} no longer names the parts that "
            f"the state {state.id} was made of; restore {table}/_delta_log from a copy"
        )
    return parts


def _agrees(state: State, table: str, parts: Sequence[Part]) -> bool:
    return state.digests.get(table) in (None, digest(parts))


def write_cache(root: Path, layout: Layout) -> None:
    """Keep the parts of the newest state beside it: a reader of that state need not replay the logs."""
    record = {
        "state": layout.state.id,
        "tables": dict(layout.state.tables),
        "parts": {
            table: [[part.path, part.rows, part.size_bytes, dict(part.partition)] for part in parts]
            for table, parts in layout._parts.items()
        },
    }
    body = json.dumps(record).encode()
    write_atomic(root / CACHE, f"{_digest(body)}\n".encode() + body)


def is_published(root: Path, state: State) -> bool:
    """Whether `write_cache`, the last step behind a commit, has been done for this state."""
    record = _cached(root)
    return record is not None and record.get("state") == state.id


def _read_cache(root: Path, state: State) -> dict[str, list[Part]] | None:
    """What `write_cache` kept, if it is of this very state; the logs are the truth, this is disposable."""
    record = _cached(root)
    if record is None or record.get("tables") != dict(state.tables):
        return None
    try:
        where, parts = str(root / CACHE), record["parts"]
        listed = {table: [recorded_part(where, *fields) for fields in parts[table]] for table in state.tables}
    except (IntegrityError, LookupError, TypeError):  # edited by hand: the logs tell
        return None
    return listed if all(_agrees(state, table, parts) for table, parts in listed.items()) else None


def _cached(root: Path) -> dict[str, Any] | None:
    """The record of `write_cache`; None where nobody kept it, or not one bit of it may be trusted."""
    try:
        digest, _, body = (root / CACHE).read_bytes().partition(b"\n")
    except OSError:
        return None
    if digest.decode("latin-1") != _digest(body):
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _schema(folder: Path, parts: Sequence[Part], version: int) -> pa.Schema:
    """The schema of a table as a part tells, or, when all are damaged, the log: the other tables stay readable."""
    for part in parts:
        with suppress(OSError, pa.ArrowException):  # the next may be whole
            return pq.read_schema(folder / part.path)
    from featurestore.storage.tables import logged_schema

    return logged_schema(folder, version)


def _dims(root: Path, layout: Layout) -> dict[str, int]:
    """The ``embed_dim`` of each current revision, from its record, or, when that is damaged, from its parts.

    Raises
    ------
    IntegrityError
        When neither tells.
    """
    dims: dict[str, int] = {}
    for part in layout.parts("backbones") if layout.state.revisions else ():
        with suppress(IntegrityError):  # its rows are looked for in the parts below
            rows = read_part(root / "backbones" / part.path, ["backbone", "revision", "embed_dim"]).to_pylist()
            current = layout.state.revisions.items()
            dims |= {row["backbone"]: row["embed_dim"] for row in rows if (row["backbone"], row["revision"]) in current}
    return {
        backbone: dims.get(backbone) or _dim_of_parts(root, layout, backbone) for backbone in layout.state.revisions
    }


def _dim_of_parts(root: Path, layout: Layout, backbone: str) -> int:
    for part in layout.embedding_parts(backbone):
        with suppress(OSError, pa.ArrowException):  # the next may be whole
            return int(pq.read_schema(root / "embeddings" / part.path).field("embedding").type.list_size)
    raise IntegrityError(
        f"the store {str(root)!r} shows the revision {layout.state.revisions[backbone]} of {backbone!r}, "
        "but has neither a record nor a vector of it: restore state.json from a copy"
    )
