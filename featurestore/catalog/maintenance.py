"""Keeping a store tidy and sound: remove what nothing refers to, recompute checksums, merge small parts."""

import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from featurestore.catalog.commit import read_whole
from featurestore.catalog.records import read_records, trusted_records
from featurestore.catalog.writer import Writer, open_writer
from featurestore.errors import InputError, IntegrityError
from featurestore.progress import Progress
from featurestore.storage.lock import HOLDER_FILE, LOCK_FILE
from featurestore.storage.manifest import manifest_path
from featurestore.storage.names import RECORDED, revision_of
from featurestore.storage.objects import LocalObjects, objects_of
from featurestore.storage.parts import Part, write_part
from featurestore.storage.schemas import CORE_TABLES

# Parts of embeddings are merged up to this many rows: 256 MB at 2048 dimensions.
MERGED_ROWS = 32_768
STAGING = "staging"
# What is left of a run that has ended once its batches are gone.
OF_A_RUN = {LOCK_FILE, HOLDER_FILE}
MANIFEST = re.compile(manifest_path(RECORDED["manifest"].pattern).replace(".json", r"\.json"))
# Names under which this package and DuckDB (a log beside its file) write before they rename.
HALF_WRITTEN = re.compile(r"\..*\.tmp(\.wal)?")
# What a writer wrote a moment ago may be named by its next commit.
A_DAY = "1d"
AGE = re.compile(r"(\d{1,6})([smhd])|0")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class GcReport:
    """What was removed, or would be: files by path below the store, and their bytes; and what is left."""

    removed: list[str]
    removed_bytes: int
    referenced_bytes: int
    disk_bytes: int


@dataclass(frozen=True)
class VerifyReport:
    """How many parts and records were read, the bytes of the parts, and what is wrong with each damaged file."""

    parts: int
    records: int
    size_bytes: int
    damaged: dict[str, str]


def gc(
    root: Path, *, older_than: str | timedelta = A_DAY, dry_run: bool = False, wait_seconds: float = 0.0
) -> GcReport:
    """Remove parts, manifests and staged batches that neither the current state nor a snapshot needs.

    A reader that opened an older state before this has to `refresh`.

    Parameters
    ----------
    older_than
        Files that were written later than so long ago stay: they may belong to a command that is at work. As text a
        number with ``s``, ``m``, ``h`` or ``d``, such as ``12h``, or ``0``.
    dry_run
        Only tell what would be removed.

    Raises
    ------
    IntegrityError
        When a record is damaged: then nothing is removed.
    """
    age = _age(older_than)
    with open_writer(root, wait_seconds=wait_seconds, purpose="gc") as writer:
        kept = trusted_records(root)
        latest = time.time() - age.total_seconds()
        garbage = {
            path: path.lstat().st_size
            for path in _data_files(root)
            if str(path.relative_to(root)) not in kept.referenced and path.lstat().st_mtime <= latest
        }
        writer.check()
        for path in garbage if not dry_run else ():
            path.unlink(missing_ok=True)
            _remove_empty(path.parent, root)
        return GcReport(
            removed=[str(path.relative_to(root)) for path in garbage],
            removed_bytes=sum(garbage.values()),
            referenced_bytes=sum(part.size_bytes for part, _ in kept.parts.values()),
            disk_bytes=sum(map(_size, _files(root))),
        )


def _age(text: str | timedelta) -> timedelta:
    if isinstance(text, timedelta) and text >= timedelta(0):
        return text
    found = AGE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InputError(f"got {text!r} as the age of what may be removed, expected a time such as 12h")
    return timedelta(**{UNITS[found[2]]: int(found[1])}) if found[2] else timedelta(0)


def verify(place: Path | LocalObjects, *, on_progress: Progress | None = None) -> VerifyReport:
    """Read every record, recompute the checksum of every part that one refers to, and compare their rows and columns.

    Damaged files are named in the result, by path below the store; they stop nothing. Of a store at an address every
    part is fetched that is not in the cache, and one that is damaged there is fetched again.
    """
    objects = objects_of(place)
    records = read_records(objects)
    parts = [part for part, _ in records.parts.values()]
    damaged = {**records.damaged, **objects.bring(parts, recheck=True, on_progress=on_progress)}
    for path, (part, tables) in records.parts.items():
        if path not in damaged:
            try:
                _check_columns(part, objects.root, tables)
            except (IntegrityError, pa.ArrowException, OSError) as error:
                damaged[path] = str(error)
    return VerifyReport(
        parts=len(records.parts),
        records=records.count,
        size_bytes=sum(part.size_bytes for part in parts),
        damaged=damaged,
    )


def _check_columns(part: Part, root: Path, tables: set[str]) -> None:
    footer = pq.read_metadata(root / part.path)
    if footer.num_rows != part.rows:
        raise IntegrityError(f"{root / part.path} has {footer.num_rows} rows, its manifest says {part.rows}")
    columns = footer.schema.to_arrow_schema()
    for table in tables & CORE_TABLES.keys():
        if not columns.equals(CORE_TABLES[table]):
            raise IntegrityError(f"{root / part.path} has other columns than the table {table}")


def compact(
    root: Path, *, wait_seconds: float = 0.0, on_progress: Progress | None = None
) -> dict[str, tuple[int, int]]:
    """Merge small parts; the rows stay the same. Returns for each table that changed its parts before and after."""
    with open_writer(root, wait_seconds=wait_seconds, purpose="compact") as writer:
        jobs = [(table, group) for table in sorted(writer.state.tables) if (group := _group(writer, table))]
        before = {table: len(writer.layout.parts(table)) for table, _ in jobs}
        for done, (table, group) in enumerate(jobs, 1):
            with writer.commit() as commit:
                commit.swap(table, add=[_merge(root, table, group)], remove=group)
            if on_progress:
                on_progress(done, len(jobs))
        return {table: (count, len(writer.layout.parts(table))) for table, count in before.items()}


def _group(writer: Writer, table: str) -> list[Part]:
    """The parts of ``table`` that are worth merging: two or more, the smallest first, and not too many vectors."""
    group: list[Part] = []
    rows = 0
    for part in sorted(writer.layout.parts(table), key=lambda part: part.rows):
        rows += part.rows
        if group and rows > MERGED_ROWS and revision_of(table) is not None:
            break
        group.append(part)
    return group if len(group) > 1 else []


def _merge(root: Path, table: str, group: Sequence[Part]) -> Part:
    """One part with the rows of all; embeddings in the order of their ids, so that they are read in one sweep.

    Raises
    ------
    IntegrityError
        When one is damaged: merged, its rows would get a checksum of their own.
    """
    rows = pa.concat_tables([read_whole(root, part) for part in group])
    if revision_of(table) is not None:
        rows = rows.take(pc.sort_indices(rows, [("ImgId", "ascending"), ("content_hash", "ascending")]))
    return write_part(rows, root, table)


def _data_files(root: Path) -> Iterator[Path]:
    """Parts, manifests, what is staged by runs that have ended, and what a killed writer left half-written.

    Never a state, a snapshot, a lock, what is kept in `cache`, or a file that this package did not write.
    """
    for path in sorted(_files(root)):
        name = str(path.relative_to(root))
        if name.startswith(f"{STAGING}/"):
            continue
        if RECORDED["part"].fullmatch(name) or MANIFEST.fullmatch(name) or HALF_WRITTEN.fullmatch(path.name):
            yield path
    for run in sorted((root / STAGING).glob("*")):
        if run.is_dir() and not run.is_symlink():
            with suppress(Timeout), FileLock(run / LOCK_FILE, timeout=0):  # a run that lives keeps its batches
                yield from sorted(path for path in run.rglob("*") if path.name not in OF_A_RUN and not path.is_dir())


def _files(root: Path) -> Iterator[Path]:
    """Every file in and below ``root``; folders that a run removes meanwhile are passed over."""
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names)


def _size(path: Path) -> int:
    """The bytes of a file; 0 when it was removed meanwhile."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove ``folder``, from which something was removed, and its parents, as far as nothing is left in them."""
    if folder.parent == root / STAGING and {path.name for path in folder.iterdir()} <= OF_A_RUN:
        shutil.rmtree(folder)
        folder = folder.parent
    while folder != root and not any(folder.iterdir()):
        os.rmdir(folder)
        folder = folder.parent
