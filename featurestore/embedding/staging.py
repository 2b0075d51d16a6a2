"""The folder of one run: its lock, and the batches that are computed but not yet published; it publishes nothing."""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from featurestore.arrow import one_chunk
from featurestore.backbones.base import BackboneSpec
from featurestore.catalog.writer import open_writer, writing
from featurestore.embedding.provenance import Extraction, extraction_of
from featurestore.embedding.vectors import faults
from featurestore.errors import InputError, IntegrityError, StoreLocked, StoreNotFound
from featurestore.files import file_hash
from featurestore.storage.lock import LOCK_FILE, holder, locked, replaced
from featurestore.storage.names import inside
from featurestore.storage.parts import HASH_DIGITS, read_part, write_part
from featurestore.storage.schemas import EMBEDDINGS, embedding_type
from featurestore.storage.state import read_state

FOLDER = "staging"
# The folder of a run's parts, below that of its batches.
PARTS = "parts"
# The keys in a batch's footer under which it says of which revision it is, and what the run was that wrote it.
OF_REVISION, COMPUTED_BY = b"featurestore.revision", b"featurestore.extraction"
# How long a run waits at least for the store's lock: others of its kind hold it for moments only.
SHORT_WAIT = 2.0
# Between two looks at whether another run of the revision has ended.
PAUSE = 0.2


@dataclass(frozen=True)
class Batch:
    """A staged file of vectors, and the content hash of each."""

    path: Path
    hashes: pa.Array


class Run:
    """One run that computes a revision; get one from `open_run`.

    Its batches are immutable files, durable as soon as they are added, and keyed by content hash. Each says which
    revision it is of, and its bytes are compared with the hash in its name whenever it is read. What a run leaves that
    has ended, the next of the same revision takes over.

    Attributes
    ----------
    batches
        Those that `add` and `adopt` brought and that are in no part yet.
    extractions
        What computed them, by id.
    """

    def __init__(self, root: Path, spec: BackboneSpec, handle: int, store: str) -> None:
        self.root = root
        self.spec = spec
        self.store = store
        self.folder = root / FOLDER / f"{spec.name}-{spec.revision}-{uuid4().hex}"
        self.batches: list[Batch] = []
        self.extraction = extraction_of(spec)
        self.extractions = {self.extraction.id: self.extraction}
        self._handle = handle

    def check(self) -> None:
        """Refuse to go on in another store, or without what was staged.

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
            The id of what computed each; this run when None.
        """
        if not len(hashes):
            return
        self.check()
        if extractions is None:
            extractions = pa.repeat(self.extraction.id, len(hashes))
        digests = pa.array(hashes, pa.string())
        rows = pa.table([digests, extractions, to_arrow(vectors)], schema=self._schema())
        part = write_part(rows, self.root, str(self.folder.relative_to(self.root)))
        self.batches.append(Batch(self.root / part.path, digests))

    def adopt(self, wanted: pa.Array) -> list[Batch]:
        """Of the batches that were taken over, those with a vector of a hash in ``wanted``; the others are removed."""
        adopted = []
        for path in sorted(self.folder.glob("part-*.parquet")):
            with suppress(IntegrityError):  # then its images are computed anew
                rows = self.read(path)
                batch, by = Batch(path, one_chunk(rows["content_hash"])), _computed_by(rows.schema.metadata, path)
                if pc.any(pc.is_in(batch.hashes, value_set=wanted)).as_py():
                    adopted.append(batch)
                    self.extractions[by.id] = by
                    continue
            with suppress(OSError):
                path.unlink()
        self.batches += adopted
        return adopted

    def read(self, path: Path) -> pa.Table:
        """One batch, checked: ``content_hash``, ``extraction``, ``embedding``.

        Raises
        ------
        IntegrityError
            When its bytes are not those that its name tells of, or it holds no usable vectors of this revision.
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
        """Remove batches that are published."""
        for batch in batches:
            batch.path.unlink(missing_ok=True)

    def take_over(self, ended: Path) -> None:
        """Make the batches in the folder of a run that has ended those of this one; its parts are made again."""
        for path in sorted(ended.glob("part-*.parquet")):
            if path.is_file():
                os.replace(path, self.folder / path.name)
        shutil.rmtree(ended)

    def remove(self) -> None:
        """Remove the folder, unless batches are left in it for the next run."""
        if self._in_place() and not any(path.is_file() for path in self.folder.glob("part-*.parquet")):
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # other runs are there
                self.folder.parent.rmdir()

    def _in_place(self) -> bool:
        """Whether the folder is still the one that was opened, and holds the store that was."""
        try:
            same = os.path.samestat(os.stat(self.root), os.fstat(self._handle))
            return same and read_state(self.root).store == self.store
        except (FileNotFoundError, NotADirectoryError, StoreNotFound):
            return False

    def _schema(self) -> pa.Schema:
        fields = [EMBEDDINGS.field("content_hash"), EMBEDDINGS.field("extraction")]
        vectors = pa.field("embedding", embedding_type(self.spec.embed_dim), nullable=False)
        metadata = {
            OF_REVISION: f"{self.spec.name}/{self.spec.revision}".encode(),
            COMPUTED_BY: json.dumps(asdict(self.extraction), sort_keys=True).encode(),
        }
        return pa.schema([*fields, vectors], metadata)


@contextmanager
def open_run(root: Path, spec: BackboneSpec, *, wait_seconds: float = 0.0, purpose: str = "") -> Iterator[Run]:
    """Be the only one who computes the revision of ``spec`` for the store in ``root``, without locking the store.

    The store's lock is held for a moment at the beginning, so that no two runs begin at once. What is left in the
    run's folder when the block ends stays there for the next run.

    Parameters
    ----------
    wait_seconds
        How long to wait for another writer, or for another run of the revision.

    Raises
    ------
    StoreLocked
        When another process writes to the store or computes this revision, and did not end in time.
    InputError
        When the views of the backbone would be called what others are.
    StoreNotFound, StoreError
        When there is no store, or it can't be written.
    """
    with writing(root), ExitStack() as stack:
        store = read_state(root).store
        handle = os.open(root, os.O_RDONLY)  # while it is open, no other folder can have the same identity
        stack.callback(os.close, handle)
        run = Run(root, spec, handle, store)
        if not wait_seconds >= 0:
            raise InputError(f"got {wait_seconds:g} as the seconds to wait, expected 0 or more")
        until, left = time.monotonic() + wait_seconds, wait_seconds
        while living := _begin(run, stack, wait_seconds=left, purpose=purpose):
            left = max(0.0, until - time.monotonic())
            if not left:
                raise StoreLocked(
                    f"revision {spec.revision} of {spec.name!r} is being computed by {living}: try again when it has "
                    "ended, or use --wait"
                )
            time.sleep(min(PAUSE, left))
        stack.callback(run.remove)
        yield run


def _begin(run: Run, stack: ExitStack, *, wait_seconds: float, purpose: str) -> str:
    """Make and lock the folder of ``run`` and take over what ended ones left; or who computes the revision already."""
    with open_writer(run.root, wait_seconds=max(wait_seconds, SHORT_WAIT), purpose=purpose) as writer:
        writer.check_backbone(run.spec.name)
        run.store = writer.state.store
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
    return ""


def _computed_by(metadata: Mapping[bytes, bytes], path: Path) -> Extraction:
    try:
        return Extraction(**json.loads(metadata[COMPUTED_BY]))
    except (ValueError, TypeError, LookupError) as error:
        raise lost(path, "it does not tell what computed it") from error


def lost(path: Path, why: str) -> IntegrityError:
    """The error of a run whose staged vectors are not what they were."""
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
