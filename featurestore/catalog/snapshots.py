"""Creates, lists, compares and removes snapshots: named, immutable copies of the state record."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.database import Database
from featurestore.catalog.recipe import find_recipe
from featurestore.catalog.writer import open_writer
from featurestore.errors import InputError, IntegrityError
from featurestore.files import make_folder, write_atomic
from featurestore.storage.layout import Layout
from featurestore.storage.names import RECORDED, quote_name
from featurestore.storage.objects import Folder, LocalObjects, Objects, objects_of
from featurestore.storage.snapshot import SnapshotInfo, read_snapshot, snapshot_names, snapshot_path, snapshot_record
from featurestore.storage.state import State, read_state


@dataclass(frozen=True)
class TableDiff:
    """Numbers of rows of a table that were added, removed or changed from the first state to the second."""

    added: int
    removed: int
    changed: int


def create(root: Path, name: str, *, wait_seconds: float = 0.0) -> SnapshotInfo:
    """Save the current state as the snapshot ``name``; it takes one small file.

    Raises
    ------
    InputError
        When the name is in use or is not a valid file name.
    """
    if not RECORDED["snapshot"].fullmatch(name):
        raise InputError(f"got the snapshot name {name!r}, expected letters, digits and . _ - (100 at most)")
    read_state(root)
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"snapshot {name}") as writer:
        path = root / snapshot_path(name)
        if path.exists():
            raise InputError(f"there is a snapshot {name!r} already: snapshots never change, use another name")
        make_folder(path.parent)
        write_atomic(path, snapshot_record(writer.state, name))
    return read_snapshot(Folder(root), name)[0]


def remove(root: Path, name: str, *, wait_seconds: float = 0.0) -> None:
    """Remove a snapshot; the next `gc` deletes the files that only it referred to.

    Raises
    ------
    InputError
        When there is no such snapshot.
    """
    read_state(root)
    with open_writer(root, wait_seconds=wait_seconds, purpose=f"remove snapshot {name}"):
        if not RECORDED["snapshot"].fullmatch(name) or not (root / snapshot_path(name)).is_file():
            raise _unknown(Folder(root), name)
        (root / snapshot_path(name)).unlink()


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
    have = ", ".join(snapshot_names(objects)) or "none"
    return InputError(f"the store {objects.address!r} has no snapshot {name!r} (it has: {have})")


def diff(place: Path | LocalObjects, first: str, second: str | None = None) -> dict[str, TableDiff]:
    """The changes from snapshot ``first`` to ``second``, or to the current state, in each table and backbone.

    Rows are identified by ``ImgId`` in the metadata and the current vectors of a backbone, ``ImgName`` in images; rows
    of the metadata without an image by all of their values.
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
    for backbone in state.revisions:
        view = f"embeddings_{backbone}"
        queries[view] = f"SELECT ImgId AS key, hash(embedding) AS value FROM {quote_name(view)}"
    # A name may be in several folders, and rows of metadata without an image have no key.
    once = "SELECT coalesce(key::VARCHAR, '') AS key, bit_xor(value) AS value FROM ({}) GROUP BY 1"
    with Database(Layout(objects, state), objects.root) as database:
        return {name: database.query(once.format(query)) for name, query in queries.items()}


def _compare(old: pa.Table | None, new: pa.Table | None) -> TableDiff:
    if old is None or new is None:
        return TableDiff(added=len(new or ()), removed=len(old or ()), changed=0)
    both = old.join(new, "key", join_type="inner", right_suffix="_after")
    changed = pc.sum(pc.not_equal(both["value"], both["value_after"])).as_py() or 0
    return TableDiff(added=len(new) - len(both), removed=len(old) - len(both), changed=changed)
