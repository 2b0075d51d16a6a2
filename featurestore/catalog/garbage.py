"""What `gc` removes, and `gc` of a store on an object store; that of a folder is in `maintenance`."""

import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from uuid import uuid4

from featurestore.catalog.records import Records, trusted_records
from featurestore.errors import StoreError
from featurestore.events import happened
from featurestore.storage.manifest import manifest_path
from featurestore.storage.names import RECORDED
from featurestore.storage.objects import LocalObjects

STAGING = "staging"
MANIFEST = re.compile(manifest_path(RECORDED["manifest"].pattern).replace(".json", r"\.json"))
# Temporary files of this package and of DuckDB (its write-ahead log).
TEMPORARY = re.compile(r"\..*\.tmp(\.wal)?")
# Files of an object store that are removed at the same time.
REMOVERS = 8


@dataclass(frozen=True)
class GcReport:
    """The files that were removed, or would be, by path relative to the store; sizes are in bytes."""

    removed: list[str]
    removed_bytes: int
    referenced_bytes: int
    disk_bytes: int


def gc_objects(objects: LocalObjects, age: timedelta, *, dry_run: bool) -> GcReport:
    """`gc` on an object store, where others may write meanwhile; ages are those of its own clock.

    It lists before it reads the records: what is put and named in between is not listed.
    """
    latest = _now(objects) - age.total_seconds()
    listed = list(objects.entries())
    kept = trusted_records(objects)
    garbage = {
        entry.name: entry.size_bytes
        for entry in listed
        if _is_data(entry.name) and entry.name not in kept.referenced and entry.time <= latest
    }

    def remove(name: str) -> bool:
        there = objects.entry(name)
        if there is None or there.time > latest:  # a writer has put it again
            return False
        objects.delete([name])
        return True

    if garbage and not dry_run:
        with ThreadPoolExecutor(REMOVERS) as pool:
            gone = list(pool.map(remove, garbage))
        garbage = {name: size for (name, size), done in zip(garbage.items(), gone, strict=True) if done}
    left = sum(entry.size_bytes for entry in listed) - (0 if dry_run else sum(garbage.values()))
    return gc_report(objects.address, kept, garbage, disk_bytes=left, dry_run=dry_run)


def gc_report(store: str, kept: Records, removed: Mapping[str, int], *, disk_bytes: int, dry_run: bool) -> GcReport:
    """The report on the files ``removed`` of ``store``, with the size of each; ``disk_bytes`` are left."""
    referenced = sum(part.size_bytes for part, _ in kept.parts.values())
    if removed and not dry_run:
        facts = {"store": store, "files": len(removed), "bytes": sum(removed.values())}
        happened("gc", "gc removed %(files)d files, %(bytes)d bytes, of the store %(store)r", facts)
    return GcReport(sorted(removed), sum(removed.values()), referenced, disk_bytes)


def _now(objects: LocalObjects) -> float:
    """The time by the clock of an object store, in seconds since 1970."""
    probe = f".gc.{uuid4().hex}.tmp"
    try:
        objects.swap(probe, b"", None)
    except StoreError:
        if objects.entry(probe) is None:  # else only the reply was lost
            raise
    entry = objects.entry(probe)
    objects.delete([probe])
    return time.time() if entry is None else entry.time


def _is_data(name: str) -> bool:
    """Whether ``name`` is that of a part, a manifest, a staged batch or a temporary file."""
    if name.startswith(f"{STAGING}/") or TEMPORARY.fullmatch(PurePosixPath(name).name):
        return True
    return any(pattern.fullmatch(name) for pattern in (RECORDED["part"], MANIFEST))
