"""Vectors on their way into the table `embeddings`: staged batch by batch, published as parts."""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from featurestore.arrow import one_chunk
from featurestore.backbones.base import BackboneSpec
from featurestore.catalog.commit import Commit
from featurestore.catalog.writer import Writer
from featurestore.embedding.vectors import faults
from featurestore.errors import EmbeddingError, IntegrityError
from featurestore.files import file_hash
from featurestore.storage.lock import LOCK_FILE
from featurestore.storage.names import embeddings_key, inside
from featurestore.storage.parts import HASH_DIGITS, Part, check_once, read_groups, read_part, write_part
from featurestore.storage.schemas import BACKBONES, EXTRACTIONS, embedding_type, embeddings_schema

# The key in a batch's footer under which it says which backbone and revision it is of.
OF_REVISION = b"featurestore.revision"


class Staging:
    """Batches that are computed but not yet published, one immutable file each, keyed by content hash.

    Each run has a folder of its own and holds the lock in it; what a run left that has ended is adopted by the next.
    A batch says which revision it is of, and its bytes are compared with the hash in its name whenever it is read.
    """

    def __init__(self, writer: Writer, spec: BackboneSpec) -> None:
        self.writer = writer
        self.spec = spec
        self.folder = writer.root / "staging" / f"{spec.name}-{spec.revision}-{uuid4().hex}"
        self.hashes: set[str] = set()
        self._names: dict[str, None] = {}
        self._lock = FileLock(self.folder / LOCK_FILE, timeout=0)

    def add(self, hashes: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Stage ``vectors`` ``(n, embed_dim)`` float32 of the images with ``hashes``."""
        if not len(hashes):
            return
        self._open()
        table = pa.table([pa.array(hashes, pa.string()), to_arrow(vectors)], schema=self._schema())
        part = write_part(table, self.writer.root, str(self.folder.relative_to(self.writer.root)))
        self._names[Path(part.path).name] = None
        self.hashes |= set(hashes)

    def adopt(self, wanted: set[str]) -> None:
        """Take over the batches that ended runs left; what is damaged or no longer wanted is removed."""
        for run in sorted(self.folder.parent.glob(f"{self.spec.name}-{self.spec.revision}*")):
            if run != self.folder and run.is_dir() and not run.is_symlink():
                with suppress(Timeout), FileLock(run / LOCK_FILE, timeout=0):  # a run that lives keeps its batches
                    self._adopt(run, wanted)

    def _adopt(self, run: Path, wanted: set[str]) -> None:
        self._open()
        for path in sorted(run.glob("part-*.parquet")):
            with suppress(IntegrityError):  # then it goes with the folder, and its images are computed anew
                hashes = set(self._read(path)["content_hash"].to_pylist()) & wanted
                if hashes:
                    os.replace(path, self.folder / path.name)
                    self._names[path.name] = None
                    self.hashes |= hashes
        shutil.rmtree(run)

    def fill(self, places: Mapping[str, Sequence[int]], rows: int) -> NDArray[np.float32]:
        """The staged vectors as ``(rows, embed_dim)`` float32, that of each hash in all of its ``places``.

        Raises
        ------
        IntegrityError
            When a batch is not as it was staged, or a row is in none.
        """
        matrix = np.full((rows, self.spec.embed_dim), np.nan, np.float32)
        filled = np.zeros(rows, bool)
        for name in self._names:
            table = self._read(self.folder / name)
            for digest, vector in zip(table["content_hash"].to_pylist(), to_matrix(table), strict=True):
                if digest in places:
                    matrix[places[digest]] = vector
                    filled[places[digest]] = True
        if not filled.all():
            raise _lost(self.folder, f"it has no vector for {rows - filled.sum()} of {rows} images")
        return matrix

    def clear(self) -> None:
        """Remove what is published."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # another run's batches are there
            self.folder.parent.rmdir()
        self.hashes.clear()
        self._names.clear()

    def close(self) -> None:
        """Leave what is staged to the next run."""
        self._lock.release()

    def _open(self) -> None:
        self.writer.check()
        inside(self.writer.root, self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._lock.is_locked:
            self._lock.acquire()

    def _schema(self) -> pa.Schema:
        columns = [pa.field("content_hash", pa.string()), pa.field("embedding", embedding_type(self.spec.embed_dim))]
        return pa.schema(columns, {OF_REVISION: f"{self.spec.name}/{self.spec.revision}".encode()})

    def _read(self, path: Path) -> pa.Table:
        """One batch, checked.

        Raises
        ------
        IntegrityError
            When its bytes are not those that its name tells of, or it holds no usable vectors of this revision.
        """
        try:
            if not path.name.startswith(f"part-{file_hash(path)[:HASH_DIGITS]}"):
                raise _lost(path, "its bytes don't match its checksum")
        except OSError as error:
            raise _lost(path, error.strerror or str(error)) from error
        table, schema = read_part(path), self._schema()
        of_revision = (table.schema.metadata or {}).get(OF_REVISION)
        if of_revision != schema.metadata[OF_REVISION] or not table.schema.equals(schema):
            raise _lost(path, "it is not of this revision")
        if faults(to_matrix(table)):
            raise _lost(path, "it holds vectors that can't be stored")
        return table


def _lost(path: Path, why: str) -> IntegrityError:
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


def parts_of(writer: Writer, spec: BackboneSpec) -> list[Part]:
    """The parts of one revision of a backbone."""
    return writer.layout.revision_parts(spec.name, spec.revision)


def replaced_revision(writer: Writer, spec: BackboneSpec) -> str:
    """The revision that the views of this backbone show, when ``spec`` is another; empty when it is not."""
    shown = writer.state.revisions.get(spec.name, "")
    return "" if shown == spec.revision else shown


def present_rows(writer: Writer, spec: BackboneSpec) -> pa.Table:
    """Each ``ImgId`` and ``content_hash`` that has a vector of this revision, as an Arrow table."""
    columns = ["ImgId", "content_hash"]
    empty = embeddings_schema(spec.embed_dim).empty_table().select(columns)
    paths = [writer.root / part.path for part in parts_of(writer, spec)]
    return pa.concat_tables([empty, *(read_part(path, columns) for path in paths)])


def known_vectors(
    writer: Writer, spec: BackboneSpec, wanted: set[str]
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """The vectors of this revision for the content hashes in ``wanted``, whatever id they were computed for.

    Each hash comes once; one whose vector can't be used is left out. A part is read a row group at a time, so that
    memory doesn't grow with what is found.

    Yields
    ------
    Hashes, and their vectors ``(n, embed_dim)`` float32; n may be 0.
    """
    left = set(wanted)
    for part in parts_of(writer, spec) if left else ():
        path = writer.root / part.path
        if left.isdisjoint(read_part(path, ["content_hash"])["content_hash"].to_pylist()):
            continue
        check_once(part, writer.root)
        for group in read_groups(path, ["content_hash", "embedding"]):
            hashes, vectors = group["content_hash"].to_pylist(), to_matrix(group)
            bad = faults(vectors)
            first = {digest: row for row, digest in enumerate(hashes) if digest in left and row not in bad}
            left -= first.keys()
            yield list(first), vectors[list(first.values())]


def publish_vectors(
    writer: Writer,
    spec: BackboneSpec,
    *,
    ids: Sequence[int],
    hashes: Sequence[str],
    vectors: NDArray[np.float32],
    extraction: str | None = None,
) -> str | None:
    """Check and commit the rows of one part, and let the views of the backbone show this revision.

    Every vector enters the store here. With the first part of a run, ``extraction`` None, come the run's own record
    and, when it is new, the backbone's. Returns the hash of the extraction, to be given with the next part.

    Raises
    ------
    EmbeddingError
        When a vector is missing, of another length or can't be used; then none of the part is stored.
    """
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.shape != (len(ids), spec.embed_dim) or len(hashes) != len(ids):
        raise EmbeddingError(
            f"got vectors of shape {vectors.shape} and {len(hashes)} hashes for {len(ids)} images, "
            f"expected {(len(ids), spec.embed_dim)}: nothing of them is stored"
        )
    for row, why in faults(vectors).items():
        raise EmbeddingError(f"the vector of ImgId {ids[row]} can't be stored, {why}: nothing of its part is stored")
    with writer.commit() as commit:
        if len(ids):
            if extraction is None:
                register(commit, spec)
                extraction = record_extraction(commit, spec)
            numbers = pa.repeat(extraction, len(ids))
            columns = [pa.array(ids, pa.int32()), pa.array(hashes, pa.string()), numbers, to_arrow(vectors)]
            rows = pa.Table.from_arrays(columns, schema=embeddings_schema(spec.embed_dim))
            commit.append(embeddings_key(spec.name, spec.revision), rows)
        if len(ids) or parts_of(writer, spec):
            commit.set_revision(spec.name, spec.revision)
    return extraction


def record_extraction(commit: Commit, spec: BackboneSpec) -> str:
    """Add the record of what computes vectors unless it is there, and return its hash: 16 hex digits."""
    computed_by = {
        "revision": spec.revision,
        "libraries": json.dumps(dict(spec.libraries), sort_keys=True),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    extraction = hashlib.sha256(json.dumps(computed_by, sort_keys=True).encode()).hexdigest()[:16]
    keys = ("extraction", "backbone")
    if not any(row == {"extraction": extraction, "backbone": spec.name} for row in _rows(commit, "extractions", keys)):
        row = {"extraction": extraction, "backbone": spec.name, "at": datetime.now(UTC), **computed_by}
        commit.append("extractions", pa.Table.from_pylist([row], schema=EXTRACTIONS))
    return extraction


def register(commit: Commit, spec: BackboneSpec) -> None:
    """Add the record of ``spec`` to the table `backbones` unless it is there."""
    key = {"backbone": spec.name, "revision": spec.revision}
    if any(row == key for row in _rows(commit, "backbones", tuple(key))):
        return
    row = {
        **key,
        "embed_dim": spec.embed_dim,
        "weights": spec.weights,
        "source": spec.source,
        "licence": spec.licence,
        "synthetic": spec.synthetic,
        "preprocessing": json.dumps(asdict(spec.preprocessing), sort_keys=True),
        "options": json.dumps(dict(spec.options), sort_keys=True),
        "libraries": json.dumps(dict(spec.libraries), sort_keys=True),
    }
    commit.append("backbones", pa.Table.from_pylist([row], schema=BACKBONES))


def _rows(commit: Commit, table: str, columns: tuple[str, ...]) -> Iterator[dict[str, object]]:
    for part in commit.parts(table):
        yield from read_part(commit.root / part.path, list(columns)).to_pylist()
