"""Removes damaged parts from the current state where their rows can be recreated; it recovers no bytes itself."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from featurestore.catalog import snapshots
from featurestore.catalog.commit import Commit
from featurestore.catalog.maintenance import verify
from featurestore.catalog.recipe import find_recipe
from featurestore.catalog.records import read_records
from featurestore.catalog.repair_images import recovered_images
from featurestore.catalog.writer import Writer, open_writer
from featurestore.errors import Conflict, InputError, IntegrityError, StoreError, StoreNotFound
from featurestore.events import happened
from featurestore.progress import Progress
from featurestore.storage.lock import locked
from featurestore.storage.names import RECORDED, embeddings_key, revision_of
from featurestore.storage.objects import LocalObjects, Objects, Place, Tag, objects_of
from featurestore.storage.parts import Part, part_of, read_part
from featurestore.storage.records import RECORD_BYTES
from featurestore.storage.schemas import CORE_TABLES
from featurestore.storage.snapshot import SnapshotInfo, read_snapshot, snapshot_names
from featurestore.storage.state import STATE_FILE, parse_state, read_state

# Append-only tables whose rows have unique keys: the rows of every undamaged part are valid.
APPEND_ONLY = {"backbones": ["backbone", "revision"], "extractions": ["extraction", "backbone"]}
# The name under which a damaged state is kept.
DAMAGED_STATE = f"{STATE_FILE}.damaged"


@dataclass
class RepairReport:
    """What one call of `repair` did.

    Parameters
    ----------
    vectors
        For each backbone, how many vectors were removed; they must be embedded or imported again.
    rows
        For `images` and the metadata, how many rows were removed; the next ingest recreates them, and an import those
        of images without a file. 0 where the number is unknown.
    rebuilt
        For each backbone, and for `backbones` and `extractions`, with a damaged manifest: how many vectors or rows were
        recovered from the parts. For `images` of a collection whose numbers are not in the names: how many numbers
        are known still.
    left
        Files that are still damaged, by path relative to the store, each with the reason: they belong to other tables
        or to snapshots.
    """

    vectors: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    rebuilt: dict[str, int] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def repair(
    place: Place, *, from_snapshot: str | None = None, wait_seconds: float = 0.0, on_progress: Progress | None = None
) -> RepairReport:
    """Remove damaged parts of embeddings, images and metadata from the current state, in one commit.

    A damaged manifest of a revision is rebuilt from the undamaged parts. The damaged files stay on disk until `gc`;
    snapshots are not changed.

    Parameters
    ----------
    from_snapshot
        Name of a snapshot whose state first replaces a damaged or missing ``state.json``; later commits are lost. The
        damaged record is kept as ``state.json.damaged``.

    Raises
    ------
    IntegrityError
        When the state can't be read. The message names the newest undamaged snapshot.
    InputError
        When there is no such snapshot, or the state is undamaged.
    StoreLocked
        When another process is writing.
    """
    objects = objects_of(place)
    if from_snapshot:
        _take_state(objects, from_snapshot, wait_seconds)
    else:
        _check_state(objects)
    report = RepairReport()
    with open_writer(objects, wait_seconds=wait_seconds, purpose="repair") as writer:
        damaged = verify(objects, on_progress=on_progress).damaged
        with writer.commit() as commit:
            for table in _repairable(writer):
                try:
                    _drop(commit, table, damaged, report)
                except IntegrityError:  # its manifest is damaged
                    _rebuild(commit, table, report)
        records = read_records(objects)  # damaged files may still be referenced by a snapshot
        report.left = {path: why for path, why in damaged.items() if path in {*records.parts, *records.damaged}}
    counts = {name: len(getattr(report, name)) for name in ("vectors", "rows", "rebuilt", "left")}
    if damaged:
        message = (
            "repair took rows of %(rows)d tables and vectors of %(vectors)d backbones out, %(left)d files are left"
        )
        happened("repair", message, {"store": objects.address, "damaged": len(damaged), **counts})
    return report


def _check_state(objects: Objects) -> None:
    """Refuse a store whose state is damaged or missing, and say which snapshot can replace it."""
    try:
        read_state(objects)
    except (IntegrityError, StoreNotFound) as error:
        if whole := list(_undamaged_snapshots(objects)):
            newest = max(whole, key=lambda info: (info.created_at, info.name))
            raise IntegrityError(
                f"{error}; or go back to the newest undamaged snapshot, {newest.name!r} of "
                f"{newest.created_at:%Y-%m-%d %H:%M}, with `featurestore repair --from-snapshot {newest.name}`: "
                "later commits are then lost"
            ) from error
        raise


def _undamaged_snapshots(objects: Objects) -> Iterator[SnapshotInfo]:
    for name in snapshot_names(objects):
        try:
            yield read_snapshot(objects, name)[0]
        except (StoreError, FileNotFoundError):
            continue


def _take_state(objects: LocalObjects, name: str, wait_seconds: float) -> None:
    """Make the state of the snapshot ``name`` the current one, if the current one is missing or damaged."""
    state = snapshots.read(objects, name)
    wait = locked(objects.root, wait_seconds=wait_seconds, purpose="repair") if objects.in_place else nullcontext()
    with wait:
        content, tag = _load(objects, STATE_FILE)
        try:
            if tag is not None:
                parse_state(content, objects.where(STATE_FILE))
                raise InputError(f"the state of the store {objects.address!r} is undamaged: leave out --from-snapshot")
        except IntegrityError:
            objects.swap(DAMAGED_STATE, content, _load(objects, DAMAGED_STATE)[1])
        if objects.swap(STATE_FILE, state.next().to_record(), tag) is None:
            raise Conflict("another writer has replaced the state meanwhile: run the command again")


def _load(objects: Objects, name: str) -> tuple[bytes, Tag | None]:
    """The bytes of a record and their tag; empty, and None, if there is none."""
    try:
        return objects.load(name, limit=RECORD_BYTES)
    except FileNotFoundError:
        return b"", None


def _repairable(writer: Writer) -> list[str]:
    recipe = find_recipe(writer.state.collection)  # `ingest` recreates images and metadata, `embed` embeddings
    ours = ("images", *APPEND_ONLY, *(() if recipe is None else [recipe.table]))
    return [table for table in writer.state.tables if table in ours or revision_of(table) is not None]


def _drop(commit: Commit, table: str, damaged: dict[str, str], report: RepairReport) -> None:
    """Remove the damaged parts of ``table`` if their rows can be recreated."""
    parts = [part for part in commit.parts(table) if part.path in damaged]
    if not parts or table in APPEND_ONLY or _recover_images(commit, table, report):
        return
    commit.drop(table, parts)
    key = revision_of(table)
    counts, name = (report.rows, table) if key is None else (report.vectors, key[0])
    counts[name] = counts.get(name, 0) + sum(part.rows for part in parts)


def _rebuild(commit: Commit, table: str, report: RepairReport) -> None:
    """Replace a damaged manifest by one of the parts that can be recovered.

    Every undamaged part of a revision holds valid vectors, no matter which state it belonged to. The rows of `images`
    and of the metadata change from state to state, so it is unknown which of their parts is current.
    """
    key = revision_of(table)
    if table in APPEND_ONLY:
        rows = _rows_once(commit, table)
        commit.replace(table, rows)
        report.rebuilt[table] = len(rows)
        return
    if key is None:
        if _recover_images(commit, table, report):
            return
        recipe = find_recipe(commit.state.collection)
        schema = recipe.schema if recipe is not None and recipe.table == table else CORE_TABLES[table]
        commit.replace(table, schema.empty_table())
        report.rows[table] = 0
        return
    commit.objects.mirror("embeddings")
    parts = list(_undamaged_parts(commit.root, table))
    if not parts:
        commit.remove_table(table)
        if commit.state.revisions.get(key[0]) == key[1]:
            commit.set_revision(key[0], None)
        report.vectors[key[0]] = 0
        return
    commit.remove_table(table)
    commit.add(table, parts)
    report.rebuilt[key[0]] = report.rebuilt.get(key[0], 0) + sum(part.rows for part in parts)


def _recover_images(commit: Commit, table: str, report: RepairReport) -> bool:
    """Rebuild `images`, if numbers are not in the names of images: an ingest would give them to other ones."""
    recipe = find_recipe(commit.state.collection)
    if table != "images" or (recipe is not None and recipe.key_number):
        return False
    rows = recovered_images(commit)
    commit.replace(table, rows)
    report.rebuilt[table] = len(rows)
    return True


def _rows_once(commit: Commit, table: str) -> pa.Table:
    """The distinct rows of the undamaged parts of a table in `APPEND_ONLY`, for the revisions that the store has."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    commit.objects.mirror(table)
    for path in sorted((commit.root / table).glob("part-*.parquet")):
        try:
            part_of(commit.root, _below(commit.root, path))
            found = read_part(path).cast(CORE_TABLES[table]).to_pylist()
        except (IntegrityError, pa.ArrowException, ValueError):
            continue
        for row in found:
            if embeddings_key(row["backbone"], row["revision"]) in commit.state.tables:
                rows[tuple(row[name] for name in APPEND_ONLY[table])] = row
    return pa.Table.from_pylist(list(rows.values()), schema=CORE_TABLES[table])


def _undamaged_parts(root: Path, table: str) -> Iterator[Part]:
    """The undamaged parts in a revision's folder, largest first, except those that repeat a vector of earlier ones."""
    seen: set[tuple[int, str]] = set()
    revision = Path(table).name  # a rename of the backbone does not move its parts
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
