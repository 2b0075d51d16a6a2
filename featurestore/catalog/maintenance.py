"""Maintenance of a store: garbage collection, verification of checksums, merging of small parts."""

import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from featurestore.catalog.commit import read_whole
from featurestore.catalog.garbage import MANIFEST, STAGING, TEMPORARY, GcReport, gc_objects, gc_report
from featurestore.catalog.records import read_records, trusted_records
from featurestore.catalog.writer import Writer, open_writer, renew_shell_file
from featurestore.errors import InputError, IntegrityError
from featurestore.progress import Progress
from featurestore.storage.lock import HOLDER_FILE, LOCK_FILE
from featurestore.storage.names import RECORDED, revision_of
from featurestore.storage.objects import LocalObjects, Place, objects_of
from featurestore.storage.parts import Part, write_part
from featurestore.storage.schemas import CORE_TABLES
from featurestore.system import remove_unless_open

# Parts of embeddings are merged up to this many rows: 256 MB at 2048 dimensions.
MERGED_ROWS = 32_768
# Files that remain of a finished run after its batches were removed.
LOCK_FILES = {LOCK_FILE, HOLDER_FILE}
# Recently written files may be referenced by a writer's next commit.
ONE_DAY = "1d"
AGE = re.compile(r"(\d{1,6})([smhd])|0")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class VerifyReport:
    """The number of parts and records read, the size of the parts in bytes, and the reason for each damaged file."""

    parts: int
    records: int
    size_bytes: int
    damaged: dict[str, str]


def gc(
    place: Place, *, older_than: str | timedelta = ONE_DAY, dry_run: bool = False, wait_seconds: float = 0.0
) -> GcReport:
    """Remove parts, manifests and staged batches that neither the current state nor a snapshot refers to.

    It also rewrites ``store.duckdb`` of a folder: no checksum covers it, and so a damaged one is replaced. A reader
    that opened an older state must call `refresh`.

    Parameters
    ----------
    older_than
        Minimum age of the files to remove: younger ones may belong to a running command. As text a number with ``s``,
        ``m``, ``h`` or ``d``, such as ``12h``, or ``0``.
    dry_run
        Only report what would be removed; ``store.duckdb`` is not rewritten either.

    Raises
    ------
    IntegrityError
        When a record is damaged; nothing is then removed.
    """
    age = _age(older_than)
    objects = objects_of(place)
    if not objects.in_place:
        return gc_objects(objects, age, dry_run=dry_run)
    root = objects.root
    with open_writer(root, wait_seconds=wait_seconds, purpose="gc", renew=dry_run) as writer:
        kept = trusted_records(objects)
        latest = time.time() - age.total_seconds()
        garbage = {
            path: path.lstat().st_size
            for path in (*loose_files(root), *_staged_files(root))
            if path.relative_to(root).as_posix() not in kept.referenced and path.lstat().st_mtime <= latest
        }
        writer.check()
        if not dry_run:
            for path in remove_files(garbage, root):
                del garbage[path]  # somebody reads it
            renew_shell_file(root, writer.state, always=True)
        sizes = {path.relative_to(root).as_posix(): size for path, size in garbage.items()}
        left = sum(map(_size, _files(root)))
        return gc_report(str(root), kept, sizes, disk_bytes=left, dry_run=dry_run)


def _age(text: str | timedelta) -> timedelta:
    if isinstance(text, timedelta) and text >= timedelta(0):
        return text
    found = AGE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise InputError(f"got {text!r} as the minimum age of files to remove, expected a time such as 12h")
    return timedelta(**{UNITS[found[2]]: int(found[1])}) if found[2] else timedelta(0)


def verify(place: Place, *, on_progress: Progress | None = None) -> VerifyReport:
    """Read every record, and verify checksum, rows and columns of every part that a record refers to.

    Damaged files don't raise an error: the result lists them, by path relative to the store. For a store at an address,
    parts that are not in the cache, or are damaged in it, are fetched.
    """
    objects = objects_of(place)
    records = read_records(objects)
    parts = [part for part, _ in records.parts.values()]
    damaged = {**records.damaged, **objects.fetch(parts, recheck=True, on_progress=on_progress)}
    damaged |= {} if objects.in_place else _misplaced(objects, parts)
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


def _misplaced(objects: LocalObjects, parts: Sequence[Part]) -> dict[str, str]:
    """The parts that the store lacks or has with another size, though the cache may hold them, each with the reason."""
    sizes = {entry.name: entry.size_bytes for entry in objects.entries()}
    wrong = {part.path: sizes.get(part.path) for part in parts if sizes.get(part.path) != part.size_bytes}
    return {
        path: f"{objects.where(path)} {'is missing' if size is None else f'has {size} bytes'}: copy it again"
        for path, size in wrong.items()
    }


def _check_columns(part: Part, root: Path, tables: set[str]) -> None:
    footer = pq.read_metadata(root / part.path)
    if footer.num_rows != part.rows:
        raise IntegrityError(f"{root / part.path} has {footer.num_rows} rows, its manifest says {part.rows}")
    columns = footer.schema.to_arrow_schema()
    for table in tables & CORE_TABLES.keys():
        if not columns.equals(CORE_TABLES[table]):
            raise IntegrityError(f"{root / part.path} has other columns than the table {table}: restore it from a copy")


def compact(
    place: Place, *, wait_seconds: float = 0.0, on_progress: Progress | None = None
) -> dict[str, tuple[int, int]]:
    """Merge small parts; the rows stay the same. Returns each changed table's number of parts before and after.

    Raises `Conflict` where another writer adds to a table meanwhile; those before it are merged.
    """
    with open_writer(place, wait_seconds=wait_seconds, purpose="compact") as writer:
        jobs = [(table, group) for table in sorted(writer.state.tables) if (group := _group(writer, table))]
        before = {table: len(writer.layout.parts(table)) for table, _ in jobs}
        for done, (table, group) in enumerate(jobs, 1):
            with writer.commit() as commit:
                commit.swap(table, add=[_merge(writer.objects, table, group)], remove=group)
            if on_progress:
                on_progress(done, len(jobs))
        return {table: (count, len(writer.layout.parts(table))) for table, count in before.items()}


def _group(writer: Writer, table: str) -> list[Part]:
    """The parts of ``table`` to merge: none, or two or more, the smallest first, up to a limit of rows."""
    group: list[Part] = []
    rows = 0
    for part in sorted(writer.layout.parts(table), key=lambda part: part.rows):
        rows += part.rows
        if group and rows > MERGED_ROWS and revision_of(table) is not None:
            break
        group.append(part)
    return group if len(group) > 1 else []


def _merge(objects: LocalObjects, table: str, group: Sequence[Part]) -> Part:
    """Write one part with the rows of all; embeddings are sorted by ``ImgId``, so that they are read sequentially.

    Raises
    ------
    IntegrityError
        When a part is damaged: merging it would give its rows a valid checksum.
    """
    rows = pa.concat_tables([read_whole(objects, part) for part in group])
    if revision_of(table) is not None:
        rows = rows.take(pc.sort_indices(rows, [("ImgId", "ascending"), ("content_hash", "ascending")]))
    return write_part(rows, objects.root, table)


def remove_files(paths: Iterable[Path], root: Path) -> list[Path]:
    """Remove files of the store in ``root``, and the folders that are empty then; the caller must hold the lock.

    Returns those that are still there since another process reads them, which keeps them on Windows.
    """
    folders, left = set(), []
    for path in paths:
        if remove_unless_open(path):
            folders.add(path.parent)
        else:
            left.append(path)
    for folder in folders:
        if folder.is_dir():
            _remove_empty(folder, root)
    return left


def loose_files(root: Path) -> Iterator[Path]:
    """Parts, manifests, and temporary files of killed writers, but none that is staged.

    Never a state, a snapshot, a lock, a file in `cache`, or a file that this package did not write.
    """
    for path in sorted(_files(root)):
        name = path.relative_to(root).as_posix()
        if name.startswith(f"{STAGING}/"):
            continue
        if RECORDED["part"].fullmatch(name) or MANIFEST.fullmatch(name) or TEMPORARY.fullmatch(path.name):
            yield path


def _staged_files(root: Path) -> Iterator[Path]:
    """The staged files of runs that have ended; none through a link, which a stranger's store can have."""
    folder = root / STAGING
    for run in [] if folder.is_symlink() else sorted(folder.glob("*")):
        if run.is_dir() and not run.is_symlink():
            with suppress(Timeout), FileLock(run / LOCK_FILE, timeout=0):  # a running process keeps its batches
                yield from sorted(path for path in run.rglob("*") if path.name not in LOCK_FILES and not path.is_dir())


def _files(root: Path) -> Iterator[Path]:
    """Every file in and below ``root``; folders that another process removes meanwhile are skipped."""
    for folder, _, names in os.walk(root):
        yield from (Path(folder, name) for name in names)


def _size(path: Path) -> int:
    """The size of a file in bytes; 0 when it was removed meanwhile."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove ``folder`` and its parents up to ``root`` if they are empty."""
    if folder.parent == root / STAGING and {path.name for path in folder.iterdir()} <= LOCK_FILES:
        shutil.rmtree(folder)
        folder = folder.parent
    while folder != root and not any(folder.iterdir()):
        os.rmdir(folder)
        folder = folder.parent
