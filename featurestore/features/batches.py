"""FeatureBatches: rows of a view whose vectors are read in batches, so that they are never in memory all at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import arrow
from featurestore._optional import import_extra
from featurestore.errors import InputError
from featurestore.features.features import (
    BATCH_ROWS,
    about_of,
    check_rows,
    schema_metadata,
    vector_columns,
    with_vectors,
)
from featurestore.features.image_index import image_index
from featurestore.features.labels import class_codes, class_names
from featurestore.features.places import Places
from featurestore.features.pull import read_vectors
from featurestore.features.rows import backbone_names, chosen_rows, embedded_rows, view_columns, view_rows
from featurestore.features.selection import Selection, find_sorted
from featurestore.features.summary import batches_text

if TYPE_CHECKING:
    from torch.utils.data import IterableDataset

    from featurestore.catalog.reader import Reader

# Rows of the view's columns that are read at a time: some views are computed as a whole for each block of them.
BLOCK_ROWS = 2**18


@dataclass(frozen=True, eq=False)
class VectorRows:
    """Where the vectors of ``n`` rows lie; it needs no open store.

    Parameters
    ----------
    places
        The locations of the vectors of each backbone.
    dims
        The length of the vectors of each backbone.
    images
        ``(n,)``: the index of the image of each row in ``places``.
    """

    places: tuple[Places, ...]
    dims: tuple[int, ...]
    images: NDArray[np.intp]

    def read(self, start: int, end: int) -> list[NDArray[np.float32]]:
        """The vectors of the rows from ``start`` to ``end``, ``(end - start, dim)`` float32 for each backbone.

        Raises
        ------
        IntegrityError
            When a part is missing or damaged.
        """
        images = self.images[start:end]
        return [read_vectors(places, images, dim) for places, dim in zip(self.places, self.dims, strict=True)]


@dataclass(frozen=True, eq=False, repr=False)
class FeatureBatches:
    """Rows of a view with their embeddings, as `Features`, but read in batches; of one state, whatever is committed.

    What reads the Arrow C stream (DuckDB, Polars, pyarrow) takes it as it is, batch by batch.

    In memory are one batch, and for each image of the store about 100 bytes: ids, hashes, and where its vectors lie.

    Parameters
    ----------
    ids
        ``(n,)`` int32, the `ImgId` of each row.
    missing
        Number of rows of the view without an embedding of each backbone; they are left out, never filled in.
    dims
        Length of the embedding of each backbone, in order.
    columns
        The columns of the view that are read, beginning with `ImgId`.
    label
        The column that is the label, or None.
    """

    ids: NDArray[np.int32]
    missing: int
    backbone: str
    revision: str
    state_id: str
    synthetic: bool
    dims: tuple[tuple[str, int], ...]
    view: str
    columns: tuple[str, ...]
    label: str | None
    vectors: VectorRows = field(repr=False)
    reader: "Reader" = field(repr=False)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.ids)

    def __repr__(self) -> str:
        """A few lines: size, origin, columns."""
        return batches_text(self)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        """The batches of `to_reader` by the PyCapsule interface of Arrow."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class labels in the order of their codes; empty without a label column."""
        return self._labels[0]

    @property
    def y(self) -> NDArray[np.int64] | None:
        """``(n,)`` int64, indices into `classes`; -1 for rows without a label; None without a label column."""
        return self._labels[1]

    @property
    def vector_columns(self) -> tuple[str, ...]:
        """The column name of each backbone's vectors: ``embedding``, or the backbone's name if there are several."""
        return vector_columns(self.dims)

    @property
    def about(self) -> dict[str, Any]:
        """Where the values came from, as `Features.about`; stored in the schema of `to_reader`."""
        return about_of(self)

    def to_reader(self, *, batch_rows: int = BATCH_ROWS) -> pa.RecordBatchReader:
        """The rows as Arrow record batches of ``batch_rows`` rows, the last one of fewer; with the same columns and
        values as `Features.to_arrow`.

        A batch of 65,536 rows takes 0.5 GB at 2,048 dimensions.

        Raises
        ------
        InputError
            When ``batch_rows`` is not 1 or more, or the view has a column with the name of a vector column. While
            batches are read: `IntegrityError` when a part is damaged.
        """
        rows = check_rows(batch_rows)
        nothing = [np.empty((0, dim), np.float32) for _, dim in self.dims]
        empty = with_vectors(self._view(self.columns, 0, 0), self.vector_columns, nothing)
        schema = empty.schema.with_metadata(schema_metadata(self.about))
        return pa.RecordBatchReader.from_batches(schema, self._batches(rows, schema))

    def to_torch(self, *, batch_rows: int = 1024) -> "IterableDataset[Any]":
        """A torch IterableDataset of batches ``(vectors, labels)``, or ``(vectors,)`` without a label column.

        Each is as long as ``batch_rows``, so a DataLoader takes it with ``batch_size=None``; its workers share the
        batches. Vectors of several backbones are concatenated.

        Raises
        ------
        InputError
            When ``batch_rows`` is not 1 or more.
        MissingExtra
            When torch is not installed.
        """
        import_extra("torch", "torch", needed_by="to_torch")
        from featurestore.features.torch_batches import TorchBatches

        return TorchBatches(self.vectors, self.y, check_rows(batch_rows))

    def _batches(self, batch_rows: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        block_rows = max(1, BLOCK_ROWS // batch_rows) * batch_rows
        with self.reader.reading():
            for first in range(0, len(self), block_rows):
                block = self._view(self.columns, first, first + block_rows)
                for start in range(first, min(first + block_rows, len(self)), batch_rows):
                    vectors = self.vectors.read(start, start + batch_rows)
                    some = block.slice(start - first, batch_rows)
                    table = with_vectors(some, self.vector_columns, vectors)
                    yield pa.RecordBatch.from_arrays([arrow.one_chunk(one) for one in table.columns], schema=schema)

    def _view(self, columns: Sequence[str], start: int, end: int) -> pa.Table:
        """Some ``columns`` of the view for the rows from ``start`` to ``end``."""
        ids = self.ids[start:end]
        rows = view_rows(self.reader, image_index(self.reader), self.view, columns, only=np.unique(ids))
        if np.array_equal(rows.ids, ids):
            return rows.table
        places, there = find_sorted(rows.ids, ids)
        if not there.all():
            raise InputError(
                f"the view {self.view!r} had a row of ImgId {ids[~there][0]} and now has none: its query must give the "
                "same rows each time"
            )
        return rows.table.take(arrow.from_numpy(places)).combine_chunks()

    @cached_property
    def _labels(self) -> tuple[tuple[str, ...], NDArray[np.int64] | None]:
        """The classes, and the code of each row; the labels are read in blocks."""
        if self.label is None:
            return (), None
        names: dict[str, None] = {}  # in order of first occurrence, so that codes stay valid while there are more
        columns = list(dict.fromkeys(["ImgId", self.label]))
        codes = []
        with self.reader.reading():
            for start in range(0, len(self), BLOCK_ROWS):
                values = self._view(columns, start, start + BLOCK_ROWS)[self.label].to_pylist()
                names |= dict.fromkeys(class_names(values))
                codes.append(class_codes(values, tuple(names)))
        classes = tuple(sorted(names))
        place = {name: number for number, name in enumerate(classes)}
        final = np.array([*(place[name] for name in names), -1], np.int64)
        return classes, final[np.concatenate(codes)] if codes else np.empty(0, np.int64)


def feature_batches(
    reader: "Reader",
    backbones: str | Sequence[str],
    *,
    view: str,
    columns: Sequence[str] | None,
    label: str | None,
    selection: Selection,
) -> FeatureBatches:
    """See `FeatureStore.feature_batches`."""
    with reader.reading() as seen:
        names, index = backbone_names(seen, backbones), image_index(seen)
        kept = view_columns(seen, view, columns, label)
        if selection.where is None and selection.ids is None:
            rows = view_rows(seen, index, view, ["ImgId"])
        else:
            rows = chosen_rows(seen, index, view, ["ImgId"], selection)
        rows, places, missing = embedded_rows(seen, index, names, rows, selection)
        dims = tuple((name, seen.layout.dim(name)) for name in names)
        return FeatureBatches(
            ids=rows.ids,
            missing=missing,
            backbone="+".join(names),
            revision="+".join(seen.state.revisions[name] for name in names),
            state_id=seen.state.id,
            synthetic=index.is_synthetic(names),
            dims=dims,
            view=view,
            columns=tuple(kept),
            label=label,
            vectors=VectorRows(tuple(places[name] for name in names), tuple(dim for _, dim in dims), rows.images),
            reader=seen,
        )
