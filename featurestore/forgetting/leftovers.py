"""What a store keeps of images beside its tables: caches, staged vectors, results that wait, unnamed files."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from featurestore.catalog.garbage import STAGING, TEMPORARY
from featurestore.catalog.maintenance import loose_files, remove_files
from featurestore.catalog.recipe import Collection
from featurestore.catalog.records import trusted_records
from featurestore.collections.ingest import CACHE
from featurestore.collections.scan import forget_scanned
from featurestore.errors import IntegrityError, StoreLocked, reason
from featurestore.files import open_file, write_atomic
from featurestore.forgetting.images import WantedImages
from featurestore.forgetting.rows import CONTENT, NUMBER, naming_columns, rest_of
from featurestore.forgetting.sweep import holds
from featurestore.storage.lock import LOCK_FILE, holder
from featurestore.storage.names import RECORDED, inside
from featurestore.storage.objects import Entry, LocalObjects
from featurestore.storage.parts import HASH_DIGITS

# The folder of results that a bench could not store yet, its files, and the locks of those that write them.
PENDING, RESULTS, OWNERS = ".bench-pending", "*-*.arrow", "*.lock"
# The key in the schema of each Arrow stream in such a file, for the name of its table.
NAME = b"table"
# Age of a temporary file in a cache that no process can be writing any more.
OLD_SECONDS = 86_400


def lock_runs(root: Path, stack: ExitStack) -> None:
    """Refuse to go on while a process computes vectors or results for the store; else hold the locks of their folders.

    Raises
    ------
    StoreLocked
        With the process that computes: what it has in memory would be stored afterwards.
    IntegrityError
        When one of these folders is a link that leads out of the store.
    """
    for folder in (CACHE, STAGING, PENDING):
        inside(root, root / folder)
    for run in sorted((root / STAGING).glob("*")):
        if run.is_dir() and not run.is_symlink():
            _hold(run / LOCK_FILE, stack, f"vectors are being computed by {holder(run)}")
    for lock in sorted((root / PENDING).glob(OWNERS)):
        _hold(lock, stack, f"a bench waits to store its results in {str(lock.parent)!r}")


def _hold(lock: Path, stack: ExitStack, what: str) -> None:
    try:
        stack.enter_context(FileLock(lock, timeout=0))
    except Timeout:
        raise StoreLocked(
            f"{what}, and would bring back what is forgotten: nothing was forgotten; run it again when that has ended"
        ) from None


def _remove(paths: Sequence[Path], root: Path) -> None:
    """Remove files of the store in ``root``.

    Raises
    ------
    StoreLocked
        When another process reads one of them, which keeps it on Windows.
    """
    left = remove_files(paths, root)
    if left:
        raise StoreLocked(
            f"another process reads {str(left[0])!r}, so that it can't be removed: run the command again when that has "
            "ended, it finishes what is left"
        )


def check_pending(root: Path) -> None:
    """Refuse to go on if results that wait can't be read; raises `IntegrityError`."""
    for path in _pending(root):
        _read_pending(path)


def clean_caches(objects: LocalObjects, wanted: WantedImages) -> int:
    """Remove the images from the cache of the scan, staged vectors and results that wait; returns how many files.

    Whatever is removed can be made anew, so that this may come before the state is swapped.
    """
    cleaned = 0
    if (objects.root / CACHE).is_dir():
        cleaned += forget_scanned(objects.root / CACHE, wanted.addresses, wanted.hashes) > 0
    cleaned += _clean_staging(objects, wanted) + _clean_pending(objects.root, wanted)
    return cleaned + (0 if objects.in_place else _clean_copied(objects, wanted))


def _clean_copied(objects: LocalObjects, wanted: WantedImages) -> int:
    """Remove what came with a folder that was copied to an object store whole, where no program reads it."""
    doomed = [entry.name for entry in list(objects.entries(CACHE))]
    for entry in list(objects.entries(PENDING)):
        try:
            tables = _tables_of(_reader(objects, entry)())
            stays = all(len(_rest(table, wanted)) == len(table) for table in tables)
        except (ValueError, pa.ArrowException):
            stays = False
        doomed += [] if stays else [entry.name]
    if doomed:
        objects.delete(doomed)
    return len(doomed)


def _clean_staging(objects: LocalObjects, wanted: WantedImages) -> int:
    """Remove staged files with vectors of the images, those of ended runs and, on an object store, its copies."""
    paths = [path for path in sorted((objects.root / STAGING).rglob("*")) if path.name != LOCK_FILE and path.is_file()]
    # A link, which this package makes none of, is removed, and what it leads to is not read.
    doomed = [path for path in paths if path.is_symlink() or _is_of_images(path.name, path.read_bytes, wanted)]
    _remove(doomed, objects.root)
    if objects.in_place:
        return len(doomed)
    staged = list(objects.entries(STAGING))
    there = [entry.name for entry in staged if _is_of_images(entry.name, _reader(objects, entry), wanted)]
    if there:
        objects.delete(there)
    return len(doomed) + len(there)


def _reader(objects: LocalObjects, entry: Entry) -> Callable[[], bytes]:
    return lambda: b"".join(objects.read(entry.name, limit=entry.size_bytes))


def _is_of_images(name: str, read: Callable[[], bytes], wanted: WantedImages) -> bool:
    """Whether a staged file can't be read, or holds vectors of anything but the images that stay.

    An image may have had other bytes before, which no table knows any more. What is removed is computed again.
    """
    try:
        content = read()
    except FileNotFoundError:  # on an object store, another run has published it
        return False
    if PurePosixPath(name).suffix == ".json":
        try:
            return _says(json.loads(content), wanted)
        except (ValueError, RecursionError):
            return True
    try:
        with pq.ParquetFile(io.BytesIO(content)) as file:
            rows = file.read([name for name in file.schema_arrow.names if name.lower() in (NUMBER, CONTENT)])
        stays = pc.is_in(rows["content_hash"], value_set=wanted.kept)
        return not pc.all(stays).as_py() or holds(rows, "", wanted)
    except (OSError, KeyError, pa.ArrowException):  # it has other columns
        return True


def _says(value: object, wanted: WantedImages) -> bool:
    """Whether a value from JSON has the name or the content hash of one of the images somewhere."""
    if isinstance(value, dict):
        return any(_says(inner, wanted) for pair in value.items() for inner in pair)
    if isinstance(value, list):
        return any(_says(inner, wanted) for inner in value)
    return isinstance(value, str) and (value in wanted.names or value in wanted.hashes)


def _pending(root: Path) -> list[Path]:
    return sorted(path for path in (root / PENDING).glob(RESULTS) if path.is_file())


def _read_pending(path: Path) -> list[pa.Table]:
    """The tables of one file of results that wait."""
    try:
        with open_file(path) as file:
            return _tables_of(file.read())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise IntegrityError(
            f"results that wait in {str(path)!r} can't be read ({reason(error)[:120]}), and nothing was forgotten: "
            "remove the file"
        ) from error


def _tables_of(content: bytes) -> list[pa.Table]:
    source, tables = pa.BufferReader(content), []
    while source.tell() < source.size():
        tables.append(pa.ipc.open_stream(source).read_all())
    return tables


def _clean_pending(root: Path, wanted: WantedImages) -> int:
    """Write the files of results that wait without those for the images; each is named by the checksum of its bytes."""
    cleaned = 0
    for path in _pending(root):
        tables = _read_pending(path)
        left = [_rest(table, wanted) for table in tables]
        if all(len(rest) == len(table) for rest, table in zip(left, tables, strict=True)):
            continue
        sink = pa.BufferOutputStream()
        for table in left:
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
        content = sink.getvalue().to_pybytes()
        digest = hashlib.sha256(content).hexdigest()[:HASH_DIGITS]
        write_atomic(path.with_name(f"{path.stem.rpartition('-')[0]}-{digest}.arrow"), content)
        path.unlink()
        cleaned += 1
    return cleaned


def _rest(table: pa.Table, wanted: WantedImages) -> pa.Table:
    name = (table.schema.metadata or {}).get(NAME, b"").decode("utf-8", "replace")
    columns = naming_columns(name, table.schema, None)
    rest = rest_of(name, table, columns, wanted, keep_numbers=False)
    return rest.replace_schema_metadata(table.schema.metadata)


def unnamed_parts(objects: LocalObjects, referenced: set[str]) -> Iterator[tuple[str, pa.Table | None]]:
    """The parts of the store that no record refers to, with their rows; None where they can't be read."""
    for entry in list(objects.entries()):
        if RECORDED["part"].fullmatch(entry.name) and entry.name not in referenced:
            try:
                content = b"".join(objects.read(entry.name, limit=entry.size_bytes))
                yield entry.name, pq.ParquetFile(io.BytesIO(content)).read()
            except FileNotFoundError:  # removed meanwhile
                continue
            except (OSError, pa.ArrowException, IntegrityError):
                yield entry.name, None


def unnamed_files(objects: LocalObjects, referenced: set[str]) -> list[Path]:
    """The parts, manifests and temporary files on this machine that no record refers to.

    Temporary files in the cache of an object store may be another process's, unless they are old.
    """
    root, latest = objects.root, time.time() - (0 if objects.in_place else OLD_SECONDS)
    return [
        path
        for path in (loose_files(root) if root.is_dir() else ())
        if path.relative_to(root).as_posix() not in referenced
        and (not TEMPORARY.fullmatch(path.name) or path.lstat().st_mtime <= latest)
    ]


def remove_unnamed(
    objects: LocalObjects, replaced: Sequence[str], wanted: WantedImages, *, recipe: Collection | None
) -> int:
    """Remove what no record refers to any more; returns the number of files.

    In a folder these are all such files, whatever their age: whoever could need them holds the lock. On an object store
    others may be about to refer to what they have put, so that only parts with rows of the images, and those that were
    ``replaced``, are removed; of the cache of it, all.
    """
    referenced = trusted_records(objects).referenced
    gone = set()
    if not objects.in_place:
        gone = {name for name in replaced if name not in referenced}
        gone |= {
            name
            for name, rows in unnamed_parts(objects, referenced)
            if rows is None or holds(rows, name.partition("/")[0], wanted, recipe=recipe)
        }
        gone |= set(_manifests_of(objects, gone, referenced))
        if gone:
            objects.delete(sorted(gone))
    local = unnamed_files(objects, referenced)
    _remove(local, objects.root)
    return len(local) if objects.in_place else len(gone)


def _manifests_of(objects: LocalObjects, parts: set[str], referenced: set[str]) -> Iterator[str]:
    """The manifests that no record refers to and that list one of ``parts``."""
    for entry in list(objects.entries("manifests")):
        if entry.name in referenced:
            continue
        with suppress(FileNotFoundError):
            content = b"".join(objects.read(entry.name, limit=entry.size_bytes)).decode("utf-8", "replace")
            if any(f'"{name}"' in content for name in parts):
                yield entry.name
