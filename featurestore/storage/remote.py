"""Stores at an address, with a local cache of the files that were used or written; each part is fetched once."""

import hashlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from featurestore import system
from featurestore.errors import IntegrityError, StoreError
from featurestore.files import atomic_file, file_hash, write_atomic
from featurestore.progress import Progress
from featurestore.storage.bucket import Bucket
from featurestore.storage.manifest import FOLDER as MANIFESTS
from featurestore.storage.names import RECORDED, inside
from featurestore.storage.objects import Entry, Folder, LocalObjects, Objects, Tag
from featurestore.storage.parts import HASH_DIGITS, Part

FETCHERS = 8
# Files that are put at the same time, each of which is in memory; how often one is put before it is given up.
SENDERS, SENDING = 4, 3
# The modification time that a cached part gets once its checksum was verified; any later change gives another time.
# So a part is fetched and verified once, and then recognised by its size and this time.
CHECKED_TIME = 0


def is_remote(location: str) -> bool:
    """Whether ``location`` is an address such as ``s3://bucket/store`` instead of a folder."""
    return "://" in location


def objects_at(location: str) -> LocalObjects:
    """The files of the store at ``location``, a folder or an address; nothing is read yet.

    Used files of a store at an address are cached in the folder in the environment variable ``FEATURESTORE_CACHE``, by
    default ``~/.cache/featurestore``. ``file:///folder`` is the address of a folder that is read like an object store,
    such as one on a slow network drive.

    Raises
    ------
    MissingExtra
        When obstore is not installed.
    StoreError
        When the address is invalid.
    """
    if not is_remote(location):
        return Folder(Path(location))
    named = os.environ.get("FEATURESTORE_CACHE")
    caches = Path(named).absolute() if named else Path.home() / ".cache" / "featurestore"
    return Cached(_source(location), caches / hashlib.sha256(location.encode()).hexdigest()[:16])


def _source(location: str) -> Objects:
    if not location.startswith("file://"):
        return Bucket(location)
    url = urlsplit(location)
    if url.netloc not in ("", "localhost"):
        raise StoreError(f"got the address {location!r}, expected file:///folder: check the address")
    return Folder(Path(unquote(url.path)))


@dataclass(frozen=True)
class Cached:
    """The files of the store ``source``; used manifests and parts are cached in ``root``.

    Both are immutable and named by their hash, which is verified before use. Several processes may use one cache at the
    same time.
    """

    source: Objects
    root: Path

    @property
    def in_place(self) -> bool:
        """False."""
        return False

    @property
    def address(self) -> str:
        """The address of the source."""
        return self.source.address

    def where(self, name: str) -> str:
        """See `Objects.where`."""
        return self.source.where(name)

    def read(self, name: str, *, limit: int) -> Iterator[bytes]:
        """See `Objects.read`."""
        if not name.startswith(f"{MANIFESTS}/"):
            yield from self.source.read(name, limit=limit)
            return
        path, sha256 = inside(self.root, self.root / name), PurePosixPath(name).stem
        try:
            content = b"".join(Folder(self.root).read(name, limit=limit))
        except (FileNotFoundError, StoreError):
            content = b""
        if hashlib.sha256(content).hexdigest() != sha256:
            content = b"".join(self.source.read(name, limit=limit))
            if hashlib.sha256(content).hexdigest() == sha256:
                with self._writing():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_atomic(path, content)
        yield content

    def load(self, name: str, *, limit: int) -> tuple[bytes, Tag]:
        """See `Objects.load`; nothing is cached."""
        return self.source.load(name, limit=limit)

    def put(self, name: str, file: Path) -> None:
        """See `Objects.put`."""
        self.source.put(name, file)

    def swap(self, name: str, content: bytes, tag: Tag | None) -> Tag | None:
        """See `Objects.swap`."""
        return self.source.swap(name, content, tag)

    def delete(self, names: Sequence[str]) -> None:
        """See `Objects.delete`."""
        self.source.delete(names)

    def list(self, folder: str) -> Iterator[str]:
        """See `Objects.list`."""
        yield from self.source.list(folder)

    def entries(self, folder: str = "") -> Iterator[Entry]:
        """See `Objects.entries`."""
        yield from self.source.entries(folder)

    def entry(self, name: str) -> Entry | None:
        """See `Objects.entry`."""
        return self.source.entry(name)

    def send(self, names: Sequence[str]) -> None:
        """See `LocalObjects.send`; each is put, also where there is one, and then looked for."""

        def put(name: str) -> None:
            # A file that was there is younger now, but a `gc` that looked at its age before may still remove it.
            for _ in range(SENDING):
                self.source.put(name, inside(self.root, self.root / name))
                if self.source.entry(name) is not None:
                    return
            raise StoreError(f"{self.where(name)} is removed as often as it is written: run one `gc` at a time")

        if names:
            with ThreadPoolExecutor(min(SENDERS, len(names))) as pool:
                list(pool.map(put, names))

    def mirror(self, folder: str) -> None:
        """See `LocalObjects.mirror`."""
        for entry in self.source.entries(folder):
            path = inside(self.root, self.root / entry.name)
            if not RECORDED["part file"].fullmatch(path.name) or _is_named(path):
                continue
            with self._writing(), suppress(FileNotFoundError):  # removed meanwhile
                path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(path) as file:
                    file.writelines(self.source.read(entry.name, limit=entry.size_bytes))

    def fetch(
        self, parts: Sequence[Part], *, recheck: bool = False, on_progress: Progress | None = None
    ) -> dict[str, str]:
        """See `LocalObjects.fetch`; a part that is damaged in the cache is fetched again."""
        wanted = [part for part in {part.path: part for part in parts}.values() if recheck or not self._is_known(part)]
        failed = {}
        with closing(_each(wanted, self._fetch)) as results:
            for done, (part, why) in enumerate(zip(wanted, results, strict=True), 1):
                if why is not None:
                    failed[part.path] = why
                if on_progress:
                    on_progress(done, len(wanted))
        return failed

    def _is_known(self, part: Part) -> bool:
        """Whether the part is in the cache and was verified, judged by its size and time."""
        path = self._path(part)
        if not path.is_file():
            return False
        status = path.stat()
        return (status.st_size, status.st_mtime_ns) == (part.size_bytes, CHECKED_TIME)

    def _fetch(self, part: Part, stopped: Event) -> str | None:
        """Fetch ``part`` into the cache and verify it; return the reason if that fails. Damaged parts are not kept."""
        path = self._path(part)
        with self._writing():
            if _is_whole(path, part):
                os.utime(path, ns=(CHECKED_TIME, CHECKED_TIME))
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{uuid4().hex}.{os.getpid()}.tmp")
            try:
                if self._copy(part, temporary, stopped) != part.sha256:
                    return f"{self.where(part.path)} is damaged, its bytes don't match its checksum: copy it again"
                os.utime(temporary, ns=(CHECKED_TIME, CHECKED_TIME))
                system.replace(temporary, path)
            except IntegrityError as error:
                return str(error)
            finally:
                temporary.unlink(missing_ok=True)
        return None

    def _copy(self, part: Part, target: Path, stopped: Event) -> str:
        """Copy the bytes of ``part`` to ``target`` and return their hash."""
        digest = hashlib.sha256()
        with target.open("xb") as file:
            for block in self._blocks(part):
                if stopped.is_set():
                    break
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())  # data must be on disk before the time marks it as verified
        return digest.hexdigest()

    def _blocks(self, part: Part) -> Iterator[bytes]:
        try:
            yield from self.source.read(part.path, limit=part.size_bytes)
        except FileNotFoundError:
            raise IntegrityError(
                f"{self.where(part.path)} is missing: copy it again from a copy of the store"
            ) from None

    def _path(self, part: Part) -> Path:
        """The path of ``part`` in the cache; checked, since the name is untrusted and the cache may contain links."""
        return inside(self.root, self.root / part.path)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"the cache {str(self.root)!r} can't be written ({error.strerror or error}): free space, or name "
                "another folder in FEATURESTORE_CACHE"
            ) from error


def _is_named(path: Path) -> bool:
    """Whether there is a file whose bytes match the hash in its name."""
    return path.is_file() and file_hash(path)[:HASH_DIGITS] in path.name


def _is_whole(path: Path, part: Part) -> bool:
    return path.is_file() and path.stat().st_size == part.size_bytes and file_hash(path) == part.sha256


def _each(parts: Sequence[Part], work: Callable[[Part, Event], str | None]) -> Generator[str | None]:
    """Yield ``work`` for each of ``parts`` in order, a few in parallel; closing the generator stops running ones."""
    if not parts:
        return
    stopped = Event()
    pool = ThreadPoolExecutor(min(FETCHERS, len(parts)))
    try:
        yield from pool.map(lambda part: work(part, stopped), parts)
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)
