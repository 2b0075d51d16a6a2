"""Keeping a store tidy and sound: remove what nothing refers to, recompute checksums, merge small parts."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from featurestore.catalog import snapshots
from featurestore.catalog.writer import Commit, Writer, open_writer, renew
from featurestore.errors import IntegrityError
from featurestore.progress import Progress
from featurestore.storage.layout import list_table, read_layout
from featurestore.storage.names import inside
from featurestore.storage.parts import Part, check_part, read_part, write_part
from featurestore.storage.state import STATE_FILE, State, read_state
from featurestore.storage.tables import trim_log

# Names under which this package, DuckDB (a log beside its file) and Delta (in its logs) write before they rename.
HALF_WRITTEN = re.compile(r"^\..*\.tmp(\.wal)?$|^\d{20}\..*#\d+$|^_last_checkpoint#\d+$")
# Parts of embeddings are merged up to this many rows: 256 MB at 2048 dimensions.
MERGED_ROWS = 32_768


@dataclass(frozen=True)
class GcReport:
    """What was removed, or would be: files by path below the store, and their bytes; and what is left."""

    removed: list[str]
    removed_bytes: int
    referenced_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class VerifyReport:
    """How many parts were read, and what is wrong with each damaged one."""

    parts: int
    size_bytes: int
    damaged: dict[str, str]


def states(root: Path) -> list[State]:
    """The current state and those of all snapshots."""
    return [read_state(root), *(snapshots.read(root, info.name) for info in snapshots.listing(root))]


def referenced(root: Path) -> dict[str, Part]:
    """Every part that the current state or a snapshot refers to, by its path below the store."""
    # Of states that have a table alike, one does for all.
    of = {
        (table, number, state.digests.get(table, "")): state
        for state in states(root)
        for table, number in state.tables.items()
    }
    return {
        f"{table}/{part.path}": part
        for (table, *_), state in sorted(of.items(), key=lambda item: item[0])
        for part in list_table(root, state, table)
    }


def gc(root: Path, *, dry_run: bool = False, wait_seconds: float = 0.0) -> GcReport:
    """Remove parts, staged batches and log entries that neither the current state nor a snapshot needs.

    A reader that opened an older state before this has to `refresh`.
    """
    with open_writer(root, wait_seconds=wait_seconds, purpose="gc") as writer:
        read_layout(root, writer.state)  # a state that shows what it has not names nothing that may be removed
        kept = referenced(root)
        tables = sorted({table for state in states(root) for table in state.tables})
        garbage = [path for path in _data_files(root) if str(path.relative_to(root)) not in kept]
        if not dry_run:
            for table in tables:
                oldest = min(state.tables[table] for state in states(root) if table in state.tables)
                trim_log(inside(root, root / table), writer.state.tables.get(table), oldest)
        size = sum(path.stat().st_size for path in garbage)
        writer.check()
        for path in garbage if not dry_run else ():
            path.unlink()
            _remove_empty(path.parent, root)
        if not dry_run:
            renew(root, writer.state)
        return GcReport(
            removed=[str(path.relative_to(root)) for path in garbage],
            removed_bytes=size,
            referenced_bytes=sum(part.size_bytes for part in kept.values()),
            disk_bytes=sum(path.stat().st_size for path in root.rglob("*") if path.is_file()),
        )


def verify(root: Path, *, on_progress: Progress | None = None) -> VerifyReport:
    """Recompute the checksum of every part that is referred to, count its rows, and see what the state shows.

    Raises
    ------
    IntegrityError
        When a state or a log can't be read at all; damaged parts are named in the result.
    """
    parts = referenced(root)
    damaged: dict[str, str] = {}
    for done, (path, part) in enumerate(parts.items(), 1):
        folder = root / path.removesuffix(part.path)
        try:
            check_part(part, folder)
            rows = pq.read_metadata(root / path).num_rows
            if rows != part.rows:
                raise IntegrityError(f"{root / path} has {rows} rows, the log says {part.rows}")
        except (IntegrityError, pa.ArrowException, OSError) as error:
            damaged[path] = str(error)
        if on_progress:
            on_progress(done, len(parts))
    try:
        read_layout(root, read_state(root))
    except IntegrityError as error:
        damaged[STATE_FILE] = str(error)
    return VerifyReport(len(parts), sum(part.size_bytes for part in parts.values()), damaged)


def compact(
    root: Path, *, wait_seconds: float = 0.0, on_progress: Progress | None = None
) -> dict[str, tuple[int, int]]:
    """Merge small parts; the rows stay the same. Returns for each table that changed its parts before and after."""
    with open_writer(root, wait_seconds=wait_seconds, purpose="compact") as writer:
        jobs = [(table, group) for table in sorted(writer.state.tables) for group in _groups(writer, table)]
        before = {table: len(_current(writer, table)) for table, _ in jobs}
        for done, (table, group) in enumerate(jobs, 1):
            with writer.commit() as commit:
                merged = _merge(root / table, group)
                commit.swap(table, add=[merged], remove=group)
            if on_progress:
                on_progress(done, len(jobs))
        return {table: (count, len(_current(writer, table))) for table, count in before.items()}


def _current(writer: Writer, table: str) -> list[Part]:
    return Commit(writer.root, writer.state).current(table)


def _groups(writer: Writer, table: str) -> Iterator[list[Part]]:
    """Runs of parts of one partition that are worth merging: two or more, and not too many rows."""
    by_partition: dict[tuple[tuple[str, str], ...], list[Part]] = {}
    for part in _current(writer, table):
        by_partition.setdefault(tuple(sorted(part.partition.items())), []).append(part)
    for parts in by_partition.values():
        group: list[Part] = []
        for part in sorted(parts, key=lambda part: part.rows):
            if group and sum(p.rows for p in group) + part.rows > MERGED_ROWS and part.partition:
                break
            group.append(part)
        if len(group) > 1:
            yield group


def _merge(folder: Path, group: Sequence[Part]) -> Part:
    """One part with the rows of all; embeddings in the order of their ids, so that they are read in one sweep.

    Raises
    ------
    IntegrityError
        When one is damaged: merged, its rows would get a checksum of their own.
    """
    for part in group:
        check_part(part, folder)
    rows = pa.concat_tables([read_part(folder / part.path) for part in group])
    if "embedding" in rows.column_names:
        rows = rows.take(pc.sort_indices(rows, [("ImgId", "ascending"), ("content_hash", "ascending")]))
    return write_part(rows, folder, partition=group[0].partition)


def _data_files(root: Path) -> Iterator[Path]:
    """Parts and what is staged, and whatever a killed writer left half-written; never logs, states or the lock."""
    for path in sorted(root.rglob("*")):
        inside = path.relative_to(root).parts
        is_data = inside[0] == "staging" or (
            path.suffix == ".parquet" and inside[0] not in ("cache", snapshots.FOLDER) and "_delta_log" not in inside
        )
        if (is_data or (HALF_WRITTEN.search(path.name) and not _being_written(path, root))) and path.is_file():
            yield path


def _being_written(path: Path, root: Path) -> bool:
    """Whether a living process may be at work on a half-written file: only reports are written without the lock."""
    number = path.name.removesuffix(".tmp").rpartition(".")[2]
    if path.parent != root or not path.name.startswith(".report.") or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    return True


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        os.rmdir(folder)
        folder = folder.parent
