"""The folder of one run: its lock, and its computed but unpublished batches; it publishes nothing."""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from featurestore.arrow import one_chunk, to_numpy
from featurestore.backbones.base import BackboneSpec
from featurestore.catalog.writer import open_writer, writing
from featurestore.embedding.provenance import Extraction, extraction_of
from featurestore.embedding.shared_batches import FOLDER, copy_batches, put_batch, remove_batches
from featurestore.embedding.vectors import faults
from featurestore.errors import InputError, IntegrityError, StoreLocked, StoreNotFound
from featurestore.files import file_hash
from featurestore.storage.lock import LOCK_FILE, holder, locked, replaced
from featurestore.storage.names import inside
from featurestore.storage.objects import LocalObjects, Place, objects_of
from featurestore.storage.parts import HASH_DIGITS, read_part, write_part
from featurestore.storage.schemas import EMBEDDINGS, embedding_type
from featurestore.storage.state import read_state
from featurestore.system import HeldFolder, replace

# The folder of a run's parts, inside its staging folder.
PARTS = "parts"
# The folder of shards that workers of a cluster compute for a run, inside its staging folder.
SHARDS = "shards"
# The keys in a batch's footer for its revision, and for the extraction record of the run that wrote it.
OF_REVISION, COMPUTED_BY = b"featurestore.revision", b"featurestore.extraction"
# Minimum time in seconds that a run waits for the store's lock, which other runs hold only briefly.
SHORT_WAIT = 2.0
# Seconds between two checks whether another run of the revision has ended.
PAUSE = 0.2


@dataclass(frozen=True)
class Batch:
    """A staged file of vectors, and the content hash of each vector."""

    path: Path
    hashes: pa.Array


class Run:
    """One run that computes a revision: in the staging folder of a store (`open_run`), or in a folder of its own.

    Its batches are immutable files, durable as soon as they are added, and keyed by content hash. Each stores its
    revision, and its bytes are verified against the hash in its name whenever it is read. Batches that a run leaves
    behind are adopted by the next run of the same revision.

    Parameters
    ----------
    place
        The store, or the folder, that the paths of its parts are relative to.
    folder
        The folder of its batches and, while it runs, of its lock; below it lie its parts.
    in_place
        Returns whether ``place`` is still the one that was opened.

    Attributes
    ----------
    batches
        The batches from `add` and `adopt` that are in no part yet.
    extractions
        The extraction records of the batches, by id.
    """

    def __init__(self, place: Place, folder: Path, spec: BackboneSpec, in_place: Callable[[], bool]) -> None:
        self.objects = objects_of(place)
        self.root = self.objects.root
        self.folder = folder
        self.spec = spec
        self.batches: list[Batch] = []
        self.extraction = extraction_of(spec)
        self.extractions = {self.extraction.id: self.extraction}
        self._in_place = in_place

    def check(self) -> None:
        """Refuse to go on if the folder holds another store, or the folder of this run was removed.

        Raises
        ------
        StoreError
            When the store's folder was removed or replaced, or another store was put into it.
        IntegrityError
            When the folder of this run was removed.
        """
        if not self._in_place():
            raise replaced(self.root)
        if not (self.folder / LOCK_FILE).is_file():
            raise lost(self.folder, "it was removed")

    def add(self, hashes: Sequence[str], vectors: NDArray[np.float32], extractions: pa.Array | None = None) -> None:
        """Stage ``vectors`` ``(n, embed_dim)`` float32 of the images with ``hashes``.

        Parameters
        ----------
        extractions
            The extraction id of each vector; that of this run when None.
        """
        if not len(hashes):
            return
        if extractions is None:
            extractions = pa.repeat(self.extraction.id, len(hashes))
        digests = pa.array(hashes, pa.string())
        rows = pa.table([digests, extractions, to_arrow(vectors)], schema=self._schema())
        part = write_part(rows, self.root, self.folder.relative_to(self.root).as_posix(), check=self.check)
        self.batches.append(Batch(self.root / part.path, digests))
        put_batch(self.objects, self.spec, self.batches[-1].path)

    def adopt(self, wanted: pa.Array) -> list[Batch]:
        """Return the adopted batches that hold a vector for a hash in ``wanted``, and remove the others."""
        paths, whole = sorted(self.folder.glob("part-*.parquet")), []
        for path in paths:
            with suppress(IntegrityError):  # if it is damaged, its images are computed again
                rows = self.read(path)
                whole.append((Batch(path, one_chunk(rows["content_hash"])), _computed_by(rows.schema.metadata, path)))
        # All at once: each look-up first makes a hash table of all that are wanted.
        hashes = pa.concat_arrays([pa.array([], pa.string()), *(batch.hashes for batch, _ in whole)])
        there = np.append(0, np.cumsum(to_numpy(pc.is_in(hashes, value_set=wanted))))
        ends = np.cumsum([0, *(len(batch.hashes) for batch, _ in whole)])
        adopted = [one for one, count in zip(whole, np.diff(there[ends]), strict=True) if count]
        kept = {batch.path for batch, _ in adopted}
        for path in paths:
            if path not in kept:
                with suppress(OSError):
                    path.unlink()
        self.extractions |= {by.id: by for _, by in adopted}
        self.batches += [batch for batch, _ in adopted]
        return [batch for batch, _ in adopted]

    def read(self, path: Path) -> pa.Table:
        """Read and verify one batch: ``content_hash``, ``extraction``, ``embedding``.

        Raises
        ------
        IntegrityError
            When its bytes don't match the hash in its name, or it does not hold valid vectors of this revision.
        """
        try:
            if not path.name.startswith(f"part-{file_hash(path)[:HASH_DIGITS]}"):
                raise lost(path, "its bytes don't match its checksum")
        except OSError as error:
            raise lost(path, error.strerror or str(error)) from error
        table, schema = read_part(path), self._schema()
        metadata = table.schema.metadata or {}
        if metadata.get(OF_REVISION) != schema.metadata[OF_REVISION] or not table.schema.equals(schema):
            raise lost(path, "it is not of this revision")
        if faults(to_matrix(table)):
            raise lost(path, "it holds vectors that can't be stored")
        return table

    def discard(self, batches: Sequence[Batch]) -> None:
        """Remove batches that were published."""
        for batch in batches:
            batch.path.unlink(missing_ok=True)
        remove_batches(self.objects, self.spec, [batch.path for batch in batches])

    def take_over(self, ended: Path) -> None:
        """Move the batches and shards of a run that has ended to this run; its other parts are written again."""
        for path in sorted(ended.glob("part-*.parquet")):
            if path.is_file():
                replace(path, self.folder / path.name)
        for path in sorted((ended / SHARDS).glob("*")):
            if path.is_dir() and not path.is_symlink():
                (self.folder / SHARDS).mkdir(exist_ok=True)
                replace(path, self.folder / SHARDS / path.name)

    def remove(self) -> None:
        """Remove the folder, unless it holds batches or shards for the next run."""
        left = (*self.folder.glob("part-*.parquet"), *self.folder.glob(f"{SHARDS}/*/receipt-*.json"))
        if self._in_place() and not any(path.is_file() for path in left):
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # other runs use it
                self.folder.parent.rmdir()

    def _schema(self) -> pa.Schema:
        fields = [EMBEDDINGS.field("content_hash"), EMBEDDINGS.field("extraction")]
        vectors = pa.field("embedding", embedding_type(self.spec.embed_dim), nullable=False)
        metadata = {
            OF_REVISION: f"{self.spec.name}/{self.spec.revision}".encode(),
            COMPUTED_BY: json.dumps(asdict(self.extraction), sort_keys=True).encode(),
        }
        return pa.schema([*fields, vectors], metadata)


@contextmanager
def open_run(place: Place, spec: BackboneSpec, *, wait_seconds: float = 0.0, purpose: str = "") -> Iterator[Run]:
    """Reserve the computation of ``spec``'s revision for the store in ``root``, without locking the store.

    The store's lock is held briefly at the start, so that two runs can't start at once. Batches that remain when the
    block ends are kept for the next run.

    Parameters
    ----------
    wait_seconds
        How many seconds to wait for another writer, or for another run of the revision.

    Raises
    ------
    StoreLocked
        When another process is writing to the store or computing this revision, and did not finish in time.
    InputError
        When the backbone's views would have names that are in use.
    StoreNotFound, StoreError
        When there is no store, or it can't be written.
    """
    with writing(place), ExitStack() as stack:
        store = read_state(place).store
        root = objects_of(place).root
        root.mkdir(parents=True, exist_ok=True)  # a cache that was not used yet
        held = stack.enter_context(closing(HeldFolder(root)))
        folder = root / FOLDER / f"{spec.name}-{spec.revision}-{uuid4().hex}"
        run = Run(place, folder, spec, partial(_is_store, objects_of(place), held, store))
        if not wait_seconds >= 0:
            raise InputError(f"got {wait_seconds:g} as the seconds to wait, expected 0 or more")
        until, left = time.monotonic() + wait_seconds, wait_seconds
        while living := _begin(run, stack, wait_seconds=left, purpose=purpose):
            left = max(0.0, until - time.monotonic())
            if not left:
                raise StoreLocked(
                    f"revision {spec.revision} of {spec.name!r} is being computed by {living}: try again when it has "
                    "finished, or use --wait"
                )
            time.sleep(min(PAUSE, left))
        stack.callback(run.remove)
        yield run


def _begin(run: Run, stack: ExitStack, *, wait_seconds: float, purpose: str) -> str:
    """Create and lock the folder of ``run``, and adopt batches of ended runs; or return who computes the revision."""
    with open_writer(run.objects, wait_seconds=max(wait_seconds, SHORT_WAIT), purpose=purpose) as writer:
        writer.check_backbone(run.spec.name)
        inside(run.root, run.folder)
        runs = f"{run.spec.name}-{run.spec.revision}*"
        with ExitStack() as ended:
            others = [path for path in sorted(run.folder.parent.glob(runs)) if path.is_dir() and not path.is_symlink()]
            for other in others:
                try:
                    ended.enter_context(FileLock(other / LOCK_FILE, timeout=0))
                except Timeout:
                    return holder(other)
            run.folder.mkdir(parents=True)
            stack.enter_context(locked(run.folder, wait_seconds=0, purpose=purpose))
            for other in others:
                run.take_over(other)
            copy_batches(run.objects, run.spec, run.folder)
        for other in others:  # not before their locks are closed: Windows removes nothing that is open
            shutil.rmtree(other, ignore_errors=True)
    return ""


def _is_store(objects: LocalObjects, held: HeldFolder, store: str) -> bool:
    """Whether the folder ``held`` is still there, and ``objects`` are the same store."""
    try:
        return held.is_there() and read_state(objects).store == store
    except (FileNotFoundError, NotADirectoryError, StoreNotFound):
        return False


def _computed_by(metadata: Mapping[bytes, bytes], path: Path) -> Extraction:
    try:
        fields = json.loads(metadata[COMPUTED_BY])
        if not all(isinstance(value, str) for value in fields.values()):
            raise ValueError("a field is no text")
        return Extraction(**fields)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise lost(path, "its extraction record is damaged") from error


def lost(path: Path, why: str) -> IntegrityError:
    """The error for staged vectors that were changed or removed."""
    return IntegrityError(
        f"computed vectors were lost before they were published, {path} was changed while this command ran ({why}): "
        "run the command again, it computes what is missing"
    )


def to_arrow(vectors: NDArray[np.float32]) -> pa.Array:
    """``(n, embed_dim)`` float32 as a fixed-size list array, without a copy."""
    kind = embedding_type(vectors.shape[1])
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors, np.float32).ravel()), type=kind)


def to_matrix(table: pa.Table) -> NDArray[np.float32]:
    """The column ``embedding`` as ``(n, embed_dim)`` float32."""
    return one_chunk(table["embedding"]).flatten().to_numpy().reshape(len(table), -1)
