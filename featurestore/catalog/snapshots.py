"""Named, immutable states: creating, listing, comparing and removing them. A snapshot is a copy of the state record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from featurestore.catalog.database import Database
from featurestore.catalog.writer import open_writer
from featurestore.errors import InputError, IntegrityError
from featurestore.files import write_atomic
from featurestore.storage.layout import read_layout
from featurestore.storage.names import RECORDED, check_recorded
from featurestore.storage.state import State, parse_state, read_record, read_state

FOLDER = "snapshots"


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot: its name, the id of its state, and when it was made."""

    name: str
    state_id: str
    created_at: datetime


@dataclass(frozen=True)
class TableDiff:
    """How many rows of a table are only in the second state, only in the first, or in both but different."""

    added: int
    removed: int
    changed: int


def create(root: Path, name: str, *, wait_seconds: float = 0.0) -> SnapshotInfo:
    """Keep the current state under ``name``; it costs one small file.

    Raises
    ------
    InputError
        When the name is taken or can't be a file name.
    """
    if not RECORDED["snapshot"].fullmatch(name):
        raise InputError(f"got the snapshot name {name!r}, expected letters, digits and . _ - (100 at most)")
    read_state(root)
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"snapshot {name}") as writer:
        path = _path(root, name)
        if path.exists():
            raise InputError(f"there is a snapshot {name!r} already: snapshots never change, use another name")
        path.parent.mkdir(exist_ok=True)
        # In the file, because the file's own time is that of the last copy.
        record = json.loads(writer.state.to_json()) | {"created_at": datetime.now(UTC).isoformat()}
        write_atomic(path, (json.dumps(record, indent=1) + "\n").encode())
    return _info(path)


def remove(root: Path, name: str, *, wait_seconds: float = 0.0) -> None:
    """Forget a snapshot; what only it referred to goes with the next `gc`.

    Raises
    ------
    InputError
        When there is no such snapshot.
    """
    read_state(root)
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"remove snapshot {name}"):
        read(root, name)
        _path(root, name).unlink()


def listing(root: Path) -> list[SnapshotInfo]:
    """All snapshots, oldest first."""
    read_state(root)
    return sorted(
        (_info(path) for path in (root / FOLDER).glob("*.json")), key=lambda info: (info.created_at, info.name)
    )


def read(root: Path, name: str) -> State:
    """The state of a snapshot.

    Raises
    ------
    InputError
        When there is none of that name.
    """
    path = _path(root, name)
    if not RECORDED["snapshot"].fullmatch(name) or not path.is_file():
        have = ", ".join(info.name for info in listing(root)) or "none"
        raise InputError(f"the store {str(root)!r} has no snapshot {name!r} (it has: {have})")
    return parse_state(read_record(path), str(path))


def diff(root: Path, first: str, second: str | None = None) -> dict[str, TableDiff]:
    """What changed from snapshot ``first`` to ``second``, or to the current state, in each table and backbone.

    Rows are told apart by ``imdbId`` in movies, ``ImgName`` in images, ``ImgId`` in the current vectors of a backbone.
    """
    old = _keyed_rows(root, read(root, first))
    new = _keyed_rows(root, read(root, second) if second else read_state(root))
    result = {}
    for table in sorted(old.keys() | new.keys()):
        before, after = old.get(table, {}), new.get(table, {})
        shared = before.keys() & after.keys()
        result[table] = TableDiff(
            added=len(after.keys() - shared),
            removed=len(before.keys() - shared),
            changed=sum(before[key] != after[key] for key in shared),
        )
    return result


def _keyed_rows(root: Path, state: State) -> dict[str, Mapping[object, object]]:
    """For each table the hash of each row by its key."""
    layout = read_layout(root, state)
    queries = {
        "movies": "SELECT imdbId AS key, hash(movies) AS value FROM movies",
        "images": "SELECT ImgName AS key, hash(content_hash, status, reason) AS value FROM images",
    }
    for backbone in state.revisions:
        queries[f"embeddings_{backbone}"] = (
            f'SELECT ImgId AS key, hash(embedding) AS value FROM "embeddings_{backbone}"'
        )
    with Database(layout, root) as database:
        tables = {name: database.query(query) for name, query in queries.items()}
    return {
        name: dict(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True))
        for name, table in tables.items()
    }


def _path(root: Path, name: str) -> Path:
    return root / FOLDER / f"{name}.json"


def _info(path: Path) -> SnapshotInfo:
    name = check_recorded("snapshot", path.stem, str(path.parent))
    text = read_record(path)
    state = parse_state(text, str(path))
    try:
        created_at = datetime.fromisoformat(json.loads(text)["created_at"])
        return SnapshotInfo(name, state.id, created_at.astimezone(UTC))
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise IntegrityError(f"{path} is damaged: it does not say when it was made; restore it from a copy") from error
