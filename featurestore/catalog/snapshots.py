"""Creates, lists, compares and removes snapshots: named, immutable copies of the state record."""

import warnings
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.database import Database
from featurestore.catalog.recipe import find_recipe
from featurestore.catalog.writer import open_writer
from featurestore.errors import Conflict, InputError, IntegrityError, StoreError
from featurestore.storage.layout import Layout
from featurestore.storage.names import RECORDED, nearest, quote_name
from featurestore.storage.objects import LocalObjects, Objects, Place, objects_of
from featurestore.storage.records import RECORD_BYTES
from featurestore.storage.snapshot import SnapshotInfo, read_snapshot, snapshot_names, snapshot_path, snapshot_record
from featurestore.storage.state import State, read_state
from featurestore.system import is_portable

# How often a snapshot is taken anew because another writer changed the state meanwhile.
TURNS = 10


@dataclass(frozen=True)
class TableDiff:
    """Numbers of rows of a table that were added, removed or changed from the first state to the second."""

    added: int
    removed: int
    changed: int


def create(place: Place, name: str, *, wait_seconds: float = 0.0) -> SnapshotInfo:
    """Save the current state as the snapshot ``name``; it takes one small file.

    Raises
    ------
    InputError
        When the name is in use or is not a valid file name.
    Conflict
        When other writers changed the state again and again meanwhile.
    """
    if not RECORDED["snapshot"].fullmatch(name):
        raise InputError(f"got the snapshot name {name!r}, expected letters, digits and . _ - (100 at most)")
    if not is_portable(name):
        raise InputError(f"got the snapshot name {name!r}, which no file can have on Windows: use another name")
    read_state(place)
    with open_writer(place, wait_seconds=wait_seconds, purpose=f"snapshot {name}") as writer:
        alike = [other for other in snapshot_names(writer.objects) if other.lower() == name.lower() and other != name]
        if alike:  # on Windows and macOS both would be one file
            raise InputError(f"there is a snapshot {alike[0]!r}, which differs in case alone: use another name")
        for _ in range(TURNS):
            _put(writer.objects, snapshot_path(name), snapshot_record(writer.state, name))
            saved = writer.state
            if writer.objects.in_place or read_state(writer.objects).commit == saved.commit:
                return read_snapshot(writer.objects, name)[0]
            # Another writer was between: a `gc` after it may not have seen that this state is needed still.
            writer.objects.delete([snapshot_path(name)])
            writer.renew()
    raise Conflict(f"other writers changed the state again and again, and there is no snapshot {name!r}: run it again")


def _put(objects: LocalObjects, path: str, record: bytes) -> None:
    """Write the record of a new snapshot.

    Raises
    ------
    InputError
        When there is one of that name, which is not this record: the reply to an earlier attempt may have been lost.
    """
    try:
        done = objects.swap(path, record, None) is not None
    except StoreError:
        if objects.entry(path) is None:
            raise
        done = False
    if not done and objects.load(path, limit=RECORD_BYTES)[0] != record:
        name = PurePosixPath(path).stem
        raise InputError(f"there is a snapshot {name!r} already: snapshots never change, use another name")


def remove(place: Place, name: str, *, wait_seconds: float = 0.0) -> None:
    """Remove a snapshot; the next `gc` deletes the files that only it referred to.

    Raises
    ------
    InputError
        When there is no such snapshot.
    """
    read_state(place)
    with open_writer(place, wait_seconds=wait_seconds, purpose=f"remove snapshot {name}") as writer:
        if not RECORDED["snapshot"].fullmatch(name) or writer.objects.entry(snapshot_path(name)) is None:
            raise _unknown(writer.objects, name)
        writer.objects.delete([snapshot_path(name)])


def listing(place: Path | Objects) -> list[SnapshotInfo]:
    """All snapshots, oldest first; a damaged one is skipped with a warning."""
    objects = objects_of(place)
    read_state(objects)
    found = []
    for name in snapshot_names(objects):
        try:
            found.append(read_snapshot(objects, name)[0])
        except FileNotFoundError:  # removed meanwhile
            continue
        except IntegrityError as error:
            warnings.warn(f"{error}, or remove the snapshot", stacklevel=2)
    return sorted(found, key=lambda info: (info.created_at, info.name))


def read(place: Path | Objects, name: str) -> State:
    """The state of a snapshot.

    Raises
    ------
    InputError
        When there is no snapshot of that name.
    """
    objects = objects_of(place)
    if not RECORDED["snapshot"].fullmatch(name):
        raise _unknown(objects, name)
    try:
        return read_snapshot(objects, name)[1]
    except FileNotFoundError:
        raise _unknown(objects, name) from None


def _unknown(objects: Objects, name: str) -> InputError:
    return InputError(
        f"the store {objects.address!r} has no snapshot {name!r} ({nearest(name, snapshot_names(objects))})"
    )


def diff(place: Path | LocalObjects, first: str, second: str | None = None) -> dict[str, TableDiff]:
    """The changes from snapshot ``first`` to ``second``, or to the current state, in each table and backbone.

    Rows are identified by ``ImgId`` in the metadata and the current vectors of a backbone, ``ImgName`` in images,
    ``ImgId`` and column in corrections that are in force; rows of the metadata without an image by all of their values.
    """
    objects = objects_of(place)
    old = _keyed_rows(objects, read(objects, first))
    new = _keyed_rows(objects, read(objects, second) if second else read_state(objects))
    return {table: _compare(old.get(table), new.get(table)) for table in sorted(old.keys() | new.keys())}


def _keyed_rows(objects: LocalObjects, state: State) -> dict[str, pa.Table]:
    """For each table the key of each row, and a hash of its values."""
    queries = {
        "images": "SELECT ImgName AS key, hash(content_hash, status, reason) AS value FROM images",
    }
    if (recipe := find_recipe(state.collection)) is not None:
        table, key = quote_name(recipe.table), quote_name(recipe.key)
        # Rows of an unknown image are known by what they hold.
        row_key = f"coalesce({key}::VARCHAR, 'row ' || hash(*COLUMNS(*)))"
        queries[recipe.table] = f"SELECT {row_key} AS key, hash(*COLUMNS(*)) AS value FROM {table}"
    if "corrections" in state.tables:
        queries["corrections"] = (
            """SELECT ImgId || ' ' || "column" AS key, hash("to") AS value FROM corrections WHERE undone IS NULL"""
        )
    for backbone in state.revisions:
        view = f"embeddings_{backbone}"
        queries[view] = f"SELECT ImgId AS key, hash(embedding) AS value FROM {quote_name(view)}"
    # A name may be in several folders, and rows of metadata without an image have no key.
    once = "SELECT coalesce(key::VARCHAR, '') AS key, bit_xor(value) AS value FROM ({}) GROUP BY 1"
    with Database(Layout(objects, state), objects.root) as database:
        found = {name: database.query(once.format(query)) for name, query in queries.items()}
    # Where all corrections are undone, there are none to compare.
    return {name: rows for name, rows in found.items() if name != "corrections" or len(rows)}


def _compare(old: pa.Table | None, new: pa.Table | None) -> TableDiff:
    if old is None or new is None:
        return TableDiff(added=len(new or ()), removed=len(old or ()), changed=0)
    both = old.join(new, "key", join_type="inner", right_suffix="_after")
    changed = pc.sum(pc.not_equal(both["value"], both["value_after"])).as_py() or 0
    return TableDiff(added=len(new) - len(both), removed=len(old) - len(both), changed=changed)
