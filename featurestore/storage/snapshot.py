"""The record of a snapshot: that of a state, with a name and the time of creation."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath

from featurestore.errors import reason
from featurestore.storage.names import check_recorded
from featurestore.storage.objects import Objects
from featurestore.storage.records import damaged, from_record, read_record, to_record
from featurestore.storage.state import State, state_of

FOLDER = "snapshots"


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot: its name, the id of its state, and the time of creation.

    ``forgotten_at`` is when `forget` last removed images from it; None if it is as it was created.
    """

    name: str
    state_id: str
    created_at: datetime
    forgotten_at: datetime | None = None


def snapshot_record(state: State, name: str, *, created_at: datetime | None = None) -> bytes:
    """The bytes of a snapshot record of ``state`` with the name ``name``, created now if not at another time.

    Name and time are in the record because copying or renaming the file would change them.
    """
    return to_record({**state.fields(), "name": name, "created_at": (created_at or datetime.now(UTC)).isoformat()})


def snapshot_path(name: str) -> str:
    """The path of the record of the snapshot ``name``, relative to the store."""
    return f"{FOLDER}/{name}.json"


def snapshot_names(objects: Objects) -> list[str]:
    """The sorted names of a store's snapshots, including those of damaged records and any other JSON files."""
    paths = [PurePosixPath(path) for path in objects.list(FOLDER)]
    return sorted(path.stem for path in paths if path.suffix == ".json")


def read_snapshot(objects: Objects, name: str) -> tuple[SnapshotInfo, State]:
    """The snapshot ``name`` of a store.

    Raises
    ------
    FileNotFoundError
        When there is none.
    IntegrityError
        When its record is damaged, or the name is invalid; then it is not read.
    StoreError
        When it can't be read.
    """
    where = objects.where(snapshot_path(name))
    check_recorded("snapshot", name, where)
    return parse_snapshot(read_record(objects, snapshot_path(name)), name, where)


def parse_snapshot(content: bytes, name: str, where: str) -> tuple[SnapshotInfo, State]:
    """Parse the snapshot ``name`` from the bytes of its record ``where``.

    Raises
    ------
    IntegrityError
        When it is not a snapshot record, or one with another name.
    """
    fields = from_record(content, where)
    said, created_at = fields.pop("name", None), fields.pop("created_at", None)
    state = state_of(fields, where)
    try:
        if said != name:
            raise ValueError(f"it is the snapshot {str(said)[:100]!r}")
        created = datetime.fromisoformat(created_at).astimezone(UTC)
        forgotten = datetime.fromisoformat(state.forgotten_at).astimezone(UTC) if state.forgotten_at else None
        later = forgotten if forgotten is not None and forgotten > created else None
        return SnapshotInfo(name, state.id, created, later), state
    except (ValueError, TypeError, OverflowError) as error:
        raise damaged(where, reason(error)) from error
