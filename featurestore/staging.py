"""Vectors on their way into the table `embeddings`: staged batch by batch, published as parts."""

import json
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.arrow import one_chunk
from featurestore.backbones.base import BackboneSpec
from featurestore.hashing import file_hash
from featurestore.parts import HASH_DIGITS, Part, read_groups, read_part, write_part
from featurestore.schemas import BACKBONES, EXTRACTIONS, embedding_type, embeddings_schema
from featurestore.writer import Commit, Writer


class Staging:
    """Batches that are computed but not yet published, one immutable file each, keyed by content hash.

    Whoever computes only adds files here; publishing is the writer's. What a killed run left is adopted by the next.
    """

    def __init__(self, root: Path, spec: BackboneSpec) -> None:
        self.folder = root / "staging" / f"{spec.name}-{spec.revision}"
        self.spec = spec
        self.hashes: set[str] = set()

    def add(self, hashes: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Stage ``vectors`` ``(n, embed_dim)`` float32 of the images with ``hashes``."""
        if not len(hashes):
            return
        table = pa.table({"content_hash": pa.array(hashes, pa.string()), "embedding": to_arrow(vectors)})
        write_part(table, self.folder)
        self.hashes |= set(hashes)

    def adopt(self, wanted: set[str]) -> None:
        """Take over the batches that an earlier run left; what is damaged or no longer wanted is removed."""
        for path in self._files():
            if path.name.startswith(f"part-{file_hash(path)[:HASH_DIGITS]}"):
                hashes = set(read_part(path, ["content_hash"])["content_hash"].to_pylist())
                if hashes & wanted:
                    self.hashes |= hashes & wanted
                    continue
            path.unlink()

    def fill(self, places: Mapping[str, Sequence[int]], rows: int) -> NDArray[np.float32]:
        """The staged vectors as ``(rows, embed_dim)`` float32, that of each hash in all of its ``places``."""
        matrix = np.empty((rows, self.spec.embed_dim), np.float32)
        for path in self._files():
            table = read_part(path)
            for digest, vector in zip(table["content_hash"].to_pylist(), to_matrix(table), strict=True):
                if digest in places:
                    matrix[places[digest]] = vector
        return matrix

    def clear(self) -> None:
        """Remove what is published, and what a killed run left half-written beside it."""
        if self.folder.is_dir():
            shutil.rmtree(self.folder)
        self.hashes.clear()

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))


def to_arrow(vectors: NDArray[np.float32]) -> pa.Array:
    """``(n, embed_dim)`` float32 as a fixed-size list array, without a copy."""
    kind = embedding_type(vectors.shape[1])
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors, np.float32).ravel()), type=kind)


def to_matrix(table: pa.Table) -> NDArray[np.float32]:
    """The column ``embedding`` as ``(n, embed_dim)`` float32."""
    return one_chunk(table["embedding"]).flatten().to_numpy().reshape(len(table), -1)


def parts_of(writer: Writer, spec: BackboneSpec) -> list[Part]:
    """The parts of one revision of a backbone."""
    partition = {"backbone": spec.name, "revision": spec.revision}
    return [part for part in Commit(writer.root, writer.state).current("embeddings") if part.partition == partition]


def replaced_revision(writer: Writer, spec: BackboneSpec) -> str:
    """The revision that the views of this backbone show, when ``spec`` is another; empty when it is not."""
    shown = writer.state.revisions.get(spec.name, "")
    return "" if shown == spec.revision else shown


def present_rows(writer: Writer, spec: BackboneSpec) -> pa.Table:
    """Each ``ImgId`` and ``content_hash`` that has a vector of this revision, as an Arrow table."""
    columns = ["ImgId", "content_hash"]
    empty = embeddings_schema(spec.embed_dim).empty_table().select(columns)
    paths = [writer.root / "embeddings" / part.path for part in parts_of(writer, spec)]
    return pa.concat_tables([empty, *(read_part(path, columns) for path in paths)])


def known_vectors(
    writer: Writer, spec: BackboneSpec, wanted: set[str]
) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    """The vectors of this revision for the content hashes in ``wanted``, whatever id they were computed for.

    Each hash comes once. A part is read a row group at a time, so that memory doesn't grow with what is found.

    Yields
    ------
    Hashes, and their vectors ``(n, embed_dim)`` float32; n may be 0.
    """
    left = set(wanted)
    for part in parts_of(writer, spec) if left else ():
        path = writer.root / "embeddings" / part.path
        if left.isdisjoint(read_part(path, ["content_hash"])["content_hash"].to_pylist()):
            continue
        for group in read_groups(path, ["content_hash", "embedding"]):
            hashes = group["content_hash"].to_pylist()
            first = {digest: row for row, digest in enumerate(hashes) if digest in left}
            left -= first.keys()
            yield list(first), to_matrix(group)[list(first.values())]


def publish_vectors(
    writer: Writer,
    spec: BackboneSpec,
    *,
    ids: Sequence[int],
    hashes: Sequence[str],
    vectors: NDArray[np.float32],
    extraction: int | None = None,
) -> int | None:
    """Commit the rows of one part, and let the views of the backbone show this revision.

    With the first part of a run, ``extraction`` None, come the run's own record and, when it is new, the backbone's.
    Returns the number of the extraction, to be given with the next part.
    """
    with writer.commit() as commit:
        if len(ids):
            if extraction is None:
                register(commit, spec)
                extraction = record_extraction(commit, spec)
            numbers = pa.array(np.full(len(ids), extraction, np.int32))
            columns = [pa.array(ids, pa.int32()), pa.array(hashes, pa.string()), numbers, to_arrow(vectors)]
            commit.append(
                "embeddings",
                pa.Table.from_arrays(columns, schema=embeddings_schema(spec.embed_dim)),
                partition={"backbone": spec.name, "revision": spec.revision},
            )
        if len(ids) or parts_of(writer, spec):
            commit.set_revision(spec.name, spec.revision)
    return extraction


def record_extraction(commit: Commit, spec: BackboneSpec) -> int:
    """Add the record of a run that publishes vectors, and return its number, counted from 1."""
    parts = commit.current("extractions")
    number = 1 + sum(part.rows for part in parts)
    row = {
        "extraction": number,
        "backbone": spec.name,
        "revision": spec.revision,
        "at": datetime.now(UTC),
        "libraries": json.dumps(dict(spec.libraries), sort_keys=True),
        "machine": f"{platform.node()}, {platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }
    commit.append("extractions", pa.Table.from_pylist([row], schema=EXTRACTIONS))
    return number


def register(commit: Commit, spec: BackboneSpec) -> None:
    """Add the record of ``spec`` to the table `backbones` unless it is there."""
    for part in commit.current("backbones"):
        rows = read_part(commit.root / "backbones" / part.path).to_pylist()
        if any((row["backbone"], row["revision"]) == (spec.name, spec.revision) for row in rows):
            return
    row = {
        "backbone": spec.name,
        "revision": spec.revision,
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
