"""Stores on an object store: a read-only copy of what a state refers to, each immutable part fetched once."""

import hashlib
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from featurestore.errors import StoreError, StoreNotFound
from featurestore.state import STATE_FILE, parse_state, write_atomic

FETCHERS = 8


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
    """
    from featurestore.tables import list_parts

    try:
        source, base = fs.FileSystem.from_uri(location)
        found = source.get_file_info(f"{base}/{STATE_FILE}")
        if not found.is_file:
            raise StoreNotFound(f"there is no store at {location!r}: copy a store's folder there, whole")
        local = _cache() / hashlib.sha256(location.encode()).hexdigest()[:16]
        state_bytes = _read(source, f"{base}/{STATE_FILE}")
        _fetch(source, base, local, [*_under(source, base, "snapshots"), *_logs(source, base)], again=True)
        states = [state_bytes, *((path.read_bytes()) for path in (local / "snapshots").glob("*.json"))]
        versions = {item for text in states for item in parse_state(text.decode(), location).tables.items()}
        parts = {f"{table}/{part.path}" for table, version in versions for part in list_parts(local / table, version)}
        _fetch(source, base, local, parts, again=False)
        # Last, so that a reader of the copy never sees a state whose parts are still on their way.
        write_atomic(local / STATE_FILE, state_bytes)
    except (pa.ArrowException, OSError) as error:
        raise StoreError(
            f"the store at {location!r} can't be read ({str(error)[:160]}): check address and rights"
        ) from error
    return local


def _cache() -> Path:
    named = os.environ.get("FEATURESTORE_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "featurestore"


def _under(source: fs.FileSystem, base: str, folder: str) -> list[str]:
    """Files below ``folder`` of the store, relative to the store."""
    selector = fs.FileSelector(f"{base}/{folder}", recursive=True, allow_not_found=True)
    return [info.path[len(base) + 1 :] for info in source.get_file_info(selector) if info.is_file]


def _logs(source: fs.FileSystem, base: str) -> list[str]:
    tables = [info.base_name for info in source.get_file_info(fs.FileSelector(base)) if not info.is_file]
    return [path for table in tables for path in _under(source, base, f"{table}/_delta_log")]


def _fetch(source: fs.FileSystem, base: str, local: Path, names: Iterable[str], *, again: bool) -> None:
    """Copy files, a few at a time; those that are there only ``again`` when asked for."""

    def copy(name: str) -> None:
        target = local / name
        if again or not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
            with source.open_input_stream(f"{base}/{name}") as stream, temporary.open("wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
            os.replace(temporary, target)

    with ThreadPoolExecutor(FETCHERS) as pool:
        list(pool.map(copy, sorted(set(names))))


def _read(source: fs.FileSystem, path: str) -> bytes:
    with source.open_input_stream(path) as stream:
        return bytes(stream.read())
