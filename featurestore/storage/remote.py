"""Stores on an object store: a read-only copy of what a state refers to, each immutable part fetched once."""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from featurestore.errors import IntegrityError, StoreError, StoreNotFound
from featurestore.files import file_hash
from featurestore.storage.manifest import manifest_path, read_manifest
from featurestore.storage.names import RECORDED, inside
from featurestore.storage.parts import Part, check_part
from featurestore.storage.records import read_record
from featurestore.storage.snapshot import parse_snapshot
from featurestore.storage.state import STATE_FILE, parse_state

Item = TypeVar("Item")
FETCHERS = 8
# Bytes of a record: many times those of the largest store.
RECORD_BYTES = 64 * 2**20
# Of a listing nothing else is fetched: these are all the records that a store has.
SNAPSHOT = re.compile(rf"snapshots/{RECORDED['snapshot'].pattern}\.json")
# The time of change that a part of the copy gets once its bytes were compared with its name: any later one is another.
CHECKED_TIME = 0


def is_remote(location: str) -> bool:
    """Whether ``location`` is an address such as ``s3://bucket/store`` instead of a folder."""
    return "://" in location


def mirror(location: str) -> Path:
    """Bring the local copy of the store at ``location`` up to date and return its folder.

    Parts never change under their names, so one that is there is not fetched again. The copy lies in the folder that
    the environment variable ``FEATURESTORE_CACHE`` names, by default ``~/.cache/featurestore``.

    Raises
    ------
    StoreNotFound
        When there is no store.
    StoreError
        When the address is not understood or can't be reached.
    IntegrityError
        When a record there names anything but files of a store, or an object is not the one that was written.
    """
    try:
        source, base = fs.FileSystem.from_uri(location)
        if not source.get_file_info(f"{base}/{STATE_FILE}").is_file:
            raise StoreNotFound(f"there is no store at {location!r}: copy a store's folder there, whole")
        local = _cache() / hashlib.sha256(location.encode()).hexdigest()[:16]
        _bring(source, base, local, location)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"the store at {location!r} can't be read ({str(error)[:160]}): check address and rights"
        ) from error
    return local


def _bring(source: fs.FileSystem, base: str, local: Path, location: str) -> None:
    """State, snapshots, logs, parts; what one names is checked before the next is fetched."""
    new_state = local / f".{STATE_FILE}.{os.getpid()}.tmp"
    try:
        _copy(source, f"{base}/{STATE_FILE}", new_state, limit=RECORD_BYTES)
        snapshots = [name for name in _under(source, base, "snapshots") if SNAPSHOT.fullmatch(name)]
        _fetch(source, base, local, snapshots, limit=RECORD_BYTES)
        kept = [local / name for name in snapshots]
        for removed in set((local / "snapshots").glob("*.json")).difference(kept):
            removed.unlink(missing_ok=True)
        current = parse_state(read_record(new_state), location)
        states = [current, *(parse_snapshot(read_record(path), path)[1] for path in kept)]
        manifests = {name: table for state in states for table, name in state.tables.items()}
        _fetch(source, base, local, [manifest_path(name) for name in manifests], limit=RECORD_BYTES)
        for name, table in manifests.items():
            _fetch_parts(source, base, local, read_manifest(local, table, name).parts)
        # Last, so that a reader of the copy never sees a state whose parts are still on their way.
        os.replace(new_state, local / STATE_FILE)
    finally:
        new_state.unlink(missing_ok=True)


def _cache() -> Path:
    named = os.environ.get("FEATURESTORE_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "featurestore"


def _under(source: fs.FileSystem, base: str, folder: str) -> list[str]:
    """Files below ``folder`` of the store, relative to the store."""
    selector = fs.FileSelector(f"{base}/{folder}", recursive=True, allow_not_found=True)
    return [info.path[len(base) + 1 :] for info in source.get_file_info(selector) if info.is_file]


def _fetch(source: fs.FileSystem, base: str, local: Path, names: Sequence[str], *, limit: int) -> None:
    """Copy records, which may have changed, a few at a time."""
    _each(names, lambda name: _copy(source, f"{base}/{name}", inside(local, local / name), limit=limit))


def _fetch_parts(source: fs.FileSystem, base: str, local: Path, parts: Sequence[Part]) -> None:
    """Copy those parts of a table that are not there, or not as they were written."""

    def bring(part: Part) -> None:
        target = inside(local, local / part.path)
        if _is_whole(part, local):
            return
        target.unlink(missing_ok=True)
        _copy(source, f"{base}/{part.path}", target, limit=part.size_bytes, part=part)

    _each(parts, bring)


def _each(items: Sequence[Item], work: Callable[[Item], None]) -> None:
    with ThreadPoolExecutor(FETCHERS) as pool:
        list(pool.map(work, items))


def _is_whole(part: Part, folder: Path) -> bool:
    """Whether a part of the copy is the one that its name tells of; its bytes are read once, not at every opening."""
    path = folder / part.path
    if not path.is_file():
        return False
    status = path.stat()
    if (status.st_size, status.st_mtime_ns) == (part.size_bytes, CHECKED_TIME):
        return True
    try:
        check_part(part, folder)
    except IntegrityError:
        return False
    os.utime(path, ns=(CHECKED_TIME, CHECKED_TIME))
    return True


def _copy(source: fs.FileSystem, address: str, target: Path, *, limit: int, part: Part | None = None) -> None:
    """Copy one object of at most ``limit`` bytes; one of a part takes its name when its bytes are those of the part.

    Raises
    ------
    IntegrityError
        When it is larger, or not that part; then there is no file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with source.open_input_stream(address) as stream, temporary.open("wb") as file:
            while block := stream.read(1 << 20):
                file.write(block)
                if file.tell() > limit:
                    raise IntegrityError(
                        f"the object {address!r} has more than {limit:,} bytes, no store of this package wrote it: "
                        "copy the store there again, whole"
                    )
        if part is not None:
            if file_hash(temporary) != part.sha256:
                raise IntegrityError(
                    f"the object {address!r} is damaged, its bytes don't match its checksum: copy it there again"
                )
            os.utime(temporary, ns=(CHECKED_TIME, CHECKED_TIME))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
