"""The record of a snapshot: that of a state, with a name and the time when it was made."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from featurestore.errors import reason
from featurestore.storage.names import check_recorded
from featurestore.storage.records import damaged, from_record, to_record
from featurestore.storage.state import State, state_of

FOLDER = "snapshots"


@dataclass(frozen=True)
class SnapshotInfo:
    """A snapshot: its name, the id of its state, and when it was made."""

    name: str
    state_id: str
    created_at: datetime


def snapshot_record(state: State, name: str) -> bytes:
    """The bytes of the record that keeps ``state`` under ``name``, made now.

    Both are in the record: the file's own time is that of the last copy, and its name can be changed.
    """
    return to_record({**state.fields(), "name": name, "created_at": datetime.now(UTC).isoformat()})


def parse_snapshot(content: bytes, path: Path) -> tuple[SnapshotInfo, State]:
    """Read a snapshot from the bytes of its record at ``path``.

    Raises
    ------
    IntegrityError
        When it is none, or that of another name.
    """
    where = str(path)
    name = check_recorded("snapshot", path.stem, where)
    fields = from_record(content, where)
    said, created_at = fields.pop("name", None), fields.pop("created_at", None)
    state = state_of(fields, where)
    try:
        if said != name:
            raise ValueError(f"it is the snapshot {str(said)[:100]!r}")
        return SnapshotInfo(name, state.id, datetime.fromisoformat(created_at).astimezone(UTC)), state
    except (ValueError, TypeError, OverflowError) as error:
        raise damaged(where, reason(error)) from error
