"""Takes what is damaged out of the current state where it can be had again; it restores no bytes by itself."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from featurestore.catalog import snapshots
from featurestore.catalog.commit import Commit
from featurestore.catalog.maintenance import verify
from featurestore.catalog.records import read_records
from featurestore.catalog.writer import Writer, open_writer
from featurestore.errors import InputError, IntegrityError, StoreError, StoreNotFound
from featurestore.files import write_atomic
from featurestore.progress import Progress
from featurestore.storage.lock import locked
from featurestore.storage.names import RECORDED, embeddings_key, revision_of
from featurestore.storage.objects import Folder
from featurestore.storage.parts import Part, part_of, read_part
from featurestore.storage.records import read_record
from featurestore.storage.schemas import CORE_TABLES
from featurestore.storage.snapshot import SnapshotInfo, read_snapshot, snapshot_names
from featurestore.storage.state import STATE_FILE, read_state

# Tables whose rows another command makes again from images and metadata; vectors are made again too.
MADE_AGAIN = ("images", "movies")
# Tables to which rows are only ever added, each under a key of its own: every whole part tells true rows.
ADDED_TO = {"backbones": ["backbone", "revision"], "extractions": ["extraction", "backbone"]}
# What a state that a snapshot took the place of is kept as.
DAMAGED_STATE = f"{STATE_FILE}.damaged"


@dataclass
class RepairReport:
    """What one call of `repair` did.

    Parameters
    ----------
    vectors
        For each backbone, how many vectors are gone until it is embedded, or imported, again.
    rows
        For `images` and `movies`, how many rows are gone until the next ingest; those of images that only an import
        knew come back with the next import of their vectors. 0 where nobody can tell how many there were.
    rebuilt
        For each backbone, and for `backbones` and `extractions`, whose manifest was damaged: how many vectors or rows
        were found again in the parts.
    left
        Files that are damaged still, by path below the store, each with what is wrong with it: they belong to other
        tables, or to snapshots.
    """

    vectors: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    rebuilt: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def repair(
    root: Path, *, from_snapshot: str | None = None, wait_seconds: float = 0.0, on_progress: Progress | None = None
) -> RepairReport:
    """Take damaged parts of embeddings, images and movies out of the current state, in one commit.

    Where the manifest of a revision is damaged, it is made anew of the parts that are whole. The damaged files stay
    until `gc`, and snapshots as they are.

    Parameters
    ----------
    from_snapshot
        Name of a snapshot whose state takes the place of a damaged or missing ``state.json`` before all else; what was
        committed after it is lost. The damaged record stays as ``state.json.damaged``.

    Raises
    ------
    IntegrityError
        When the state can't be read: no part can then be told from another. It names the newest whole snapshot.
    InputError
        When there is no such snapshot, or the state needs none.
    StoreLocked
        When another process writes.
    """
    if from_snapshot:
        _take_state(root, from_snapshot, wait_seconds)
    else:
        _check_state(root)
    report = RepairReport()
    with open_writer(root, wait_seconds=wait_seconds, purpose="repair") as writer:
        damaged = verify(root, on_progress=on_progress).damaged
        with writer.commit() as commit:
            for table in _repairable(writer):
                try:
                    _drop(commit, table, damaged, report)
                except IntegrityError:  # its manifest is damaged
                    _rebuild(commit, table, report)
        records = read_records(root)  # what the current state no longer needs may still be a snapshot's
        report.left = {path: why for path, why in damaged.items() if path in {*records.parts, *records.damaged}}
    return report


def _check_state(root: Path) -> None:
    """Refuse a store without a whole state, and say which snapshot can take its place."""
    try:
        read_state(root)
    except (IntegrityError, StoreNotFound) as error:
        if whole := list(_whole_snapshots(root)):
            newest = max(whole, key=lambda info: (info.created_at, info.name))
            raise IntegrityError(
                f"{error}; or go back to the newest whole snapshot, {newest.name!r} of "
                f"{newest.created_at:%Y-%m-%d %H:%M}, with `featurestore repair --from-snapshot {newest.name}`: what "
                "was committed after it is then lost"
            ) from error
        raise


def _whole_snapshots(root: Path) -> Iterator[SnapshotInfo]:
    objects = Folder(root)
    for name in snapshot_names(objects):
        try:
            yield read_snapshot(objects, name)[0]
        except (StoreError, FileNotFoundError):
            continue


def _take_state(root: Path, name: str, wait_seconds: float) -> None:
    """Let the state of the snapshot ``name`` be the current one, where there is none that can be read."""
    state = snapshots.read(root, name)
    with locked(root, wait_seconds=wait_seconds, purpose="repair"):
        try:
            read_state(root)
        except IntegrityError:
            write_atomic(root / DAMAGED_STATE, read_record(Folder(root), STATE_FILE))
        except StoreNotFound:
            pass
        else:
            raise InputError(f"the state of the store {str(root)!r} is whole: leave out --from-snapshot")
        write_atomic(root / STATE_FILE, state.next().to_record())


def _repairable(writer: Writer) -> list[str]:
    ours = (*MADE_AGAIN, *ADDED_TO)
    return [table for table in writer.state.tables if table in ours or revision_of(table) is not None]


def _drop(commit: Commit, table: str, damaged: dict[str, str], report: RepairReport) -> None:
    """Take the damaged parts of ``table`` out, where their rows can be had again."""
    parts = [part for part in commit.parts(table) if part.path in damaged]
    if not parts or table in ADDED_TO:
        return
    commit.drop(table, parts)
    key = revision_of(table)
    counts, name = (report.rows, table) if key is None else (report.vectors, key[0])
    counts[name] = counts.get(name, 0) + sum(part.rows for part in parts)


def _rebuild(commit: Commit, table: str, report: RepairReport) -> None:
    """Put what can be found in the place of a manifest that is damaged.

    Every part of a revision holds vectors of its backbone, in whatever state it was. The rows of `images` and
    `movies` change from one state to the next: of these no part can be trusted to be the newest.
    """
    key = revision_of(table)
    if table in ADDED_TO:
        rows = _rows_once(commit, table)
        commit.replace(table, rows)
        report.rebuilt[table] = len(rows)
        return
    if key is None:
        commit.replace(table, CORE_TABLES[table].empty_table())
        report.rows[table] = 0
        return
    parts = list(_whole_parts(commit.root, table))
    if not parts:
        commit.remove_table(table)
        if commit.state.revisions.get(key[0]) == key[1]:
            commit.set_revision(key[0], None)
        report.vectors[key[0]] = 0
        return
    commit.remove_table(table)
    commit.add(table, parts)
    report.rebuilt[key[0]] = report.rebuilt.get(key[0], 0) + sum(part.rows for part in parts)


def _rows_once(commit: Commit, table: str) -> pa.Table:
    """Each row of the whole parts of a table in `ADDED_TO`, of the revisions that the store has."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    for path in sorted((commit.root / table).glob("part-*.parquet")):
        try:
            part_of(commit.root, _below(commit.root, path))
            found = read_part(path).cast(CORE_TABLES[table]).to_pylist()
        except (IntegrityError, pa.ArrowException, ValueError):
            continue
        for row in found:
            if embeddings_key(row["backbone"], row["revision"]) in commit.state.tables:
                rows[tuple(row[name] for name in ADDED_TO[table])] = row
    return pa.Table.from_pylist(list(rows.values()), schema=CORE_TABLES[table])


def _whole_parts(root: Path, table: str) -> Iterator[Part]:
    """The parts in the folder of a revision that are whole, the largest first; none with a vector of an earlier one."""
    seen: set[tuple[int, str]] = set()
    revision = Path(table).name  # whatever the backbone was called when the parts were written
    paths = [path for path in root.glob(f"embeddings/*/{revision}/*") if RECORDED["part"].fullmatch(_below(root, path))]
    for path in sorted(paths, key=lambda path: (-path.stat().st_size, path.name)):
        try:
            part = part_of(root, _below(root, path))
            rows = read_part(path, ["ImgId", "content_hash"])
        except IntegrityError:
            continue
        keys = set(zip(rows["ImgId"].to_pylist(), rows["content_hash"].to_pylist(), strict=True))
        if seen.isdisjoint(keys):
            seen |= keys
            yield part


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
