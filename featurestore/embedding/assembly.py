"""Turns staged batches into final parts with the ids of a plan; it checks each vector, and publishes none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.arrow import one_chunk, to_numpy
from featurestore.backbones.base import BackboneSpec
from featurestore.embedding.plan import EmbedPlan
from featurestore.embedding.staging import PARTS, Batch, Run, to_arrow, to_matrix
from featurestore.embedding.vectors import faults
from featurestore.errors import EmbeddingError
from featurestore.storage.parts import Part, write_part
from featurestore.storage.schemas import embeddings_schema

# Vectors per part, at most twice as many: writing a part holds several copies of them in memory (floats, levels,
# page), 40 MB for 1024 of 2048 dimensions. `compact` merges such parts into row groups of 4096.
PART_ROWS = 1024


@dataclass(frozen=True)
class Shard:
    """Final parts, and the batches that they were made from, which are removed once the parts are published."""

    parts: Sequence[Part]
    batches: Sequence[Batch]


def assemble(run: Run, plan: EmbedPlan) -> Shard:
    """Write the staged vectors of ``run`` as parts into its folder, each vector for all planned images with its hash.

    Each batch is read once; the batches of one part are in memory together. If a hash is in several batches, the first
    vector is used; hashes that are not planned are skipped.

    Raises
    ------
    IntegrityError
        When a staged batch is missing or damaged.
    """
    if not run.batches:
        return Shard((), ())
    run.check()
    batches = list(run.batches)
    numbers = plan.numbers(pa.concat_arrays([batch.hashes for batch in batches]))
    wanted = np.zeros(len(numbers), bool)
    wanted[np.unique(numbers, return_index=True)[1]] = True
    wanted &= numbers >= 0
    rows = int(plan.counts[numbers[wanted]].sum())
    enough = rows / max(1, rows // PART_ROWS)  # parts of equal size, so that no small one remains
    parts: list[Part] = []
    group: list[pa.Table] = []
    start, first = 0, 0
    for batch in batches:
        group.append(run.read(batch.path).drop_columns("content_hash"))
        start += len(batch.hashes)
        if plan.counts[numbers[first:start][wanted[first:start]]].sum() >= enough:
            parts += _parts(run, plan, numbers[first:start], wanted[first:start], pa.concat_tables(group))
            group, first = [], start
    if group:
        parts += _parts(run, plan, numbers[first:], wanted[first:], pa.concat_tables(group))
    run.batches.clear()
    return Shard(parts, batches)


def _parts(
    run: Run, plan: EmbedPlan, numbers: NDArray[np.int64], wanted: NDArray[np.bool_], vectors: pa.Table
) -> list[Part]:
    """Write the parts of some vectors; several if many images share the same bytes."""
    places = np.flatnonzero(wanted)
    images, source = plan.images(numbers[places])
    X, extractions = to_matrix(vectors), one_chunk(vectors["extraction"])
    parts = []
    for start in range(0, len(images), 2 * PART_ROWS):
        some = images.slice(start, 2 * PART_ROWS)
        rows = places[source[start : start + 2 * PART_ROWS]]
        parts.append(write_vectors(run, some, X[rows], extractions.take(pa.array(rows))))
    return parts


def write_vectors(
    run: Run, images: pa.Table, vectors: NDArray[np.floating], extractions: pa.Array | None = None
) -> Part:
    """Write one final part into the folder of ``run``, after checking its vectors.

    Parameters
    ----------
    images
        The columns ``ImgId`` and ``content_hash`` of each row.
    vectors
        ``(len(images), embed_dim)``.
    extractions
        The extraction id of each row; that of this run when None.

    Raises
    ------
    EmbeddingError
        When a vector is missing, has another length or is invalid (see `faults`).
    """
    rows = vector_rows(run.spec, images, vectors, extractions or pa.repeat(run.extraction.id, len(images)))
    return write_part(rows, run.root, (run.folder / PARTS).relative_to(run.root).as_posix(), check=run.check)


def vector_rows(spec: BackboneSpec, images: pa.Table, vectors: NDArray[np.floating], extractions: pa.Array) -> pa.Table:
    """The checked rows of a part; arguments and errors as for `write_vectors`."""
    with np.errstate(over="ignore"):  # values too large for float32 become infinite, and are refused
        X = np.ascontiguousarray(vectors, np.float32)
    if X.shape != (len(images), spec.embed_dim) or len(extractions) != len(images):
        raise EmbeddingError(
            f"got vectors of shape {X.shape} for {len(images)} images, expected {(len(images), spec.embed_dim)}: "
            "none of them is stored"
        )
    for row, why in faults(X).items():
        img_id = to_numpy(images["ImgId"])[row]
        raise EmbeddingError(f"the vector of ImgId {img_id} can't be stored, {why}: no vector of its part is stored")
    columns = [images["ImgId"], images["content_hash"], extractions, to_arrow(X)]
    return pa.Table.from_arrays(columns, schema=embeddings_schema(spec.embed_dim))
