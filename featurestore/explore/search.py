"""Exact nearest neighbours among the embeddings of one backbone: what is asked for, and what is searched."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.backbones.texts import embed_texts
from featurestore.errors import InputError
from featurestore.errors import nearest as nearest_name
from featurestore.explore.inventory import stored_revision
from featurestore.explore.nearest import Index, lengths_of, nearest
from featurestore.explore.rounded import Rounded, rounded, usable
from featurestore.features import rows
from featurestore.features.selection import matching

if TYPE_CHECKING:
    from featurestore.backbones.base import Backbone
    from featurestore.catalog.reader import Reader

METRICS = ("cosine", "inner_product", "euclidean")
Query = int | str | Path | NDArray[np.floating] | Sequence[int]


@dataclass(frozen=True, eq=False, repr=False)
class Neighbours:
    """The nearest images of each query, nearest first; a notebook shows the images.

    Parameters
    ----------
    ids
        ``(m, k)`` int32, with ``k`` at most the number of images; -1 where fewer than ``k`` were searched.
    scores
        ``(m, k)`` float64: higher is more similar for cosine and inner product, lower for Euclidean distance.
    queries
        The ImgId of each query, None where it was an image, a vector or a text.
    texts
        The text of each query; empty where they were no texts.
    synthetic
        Whether any image, or the backbone's weights, are synthetic.
    reader
        The store with the images; they are read when a notebook shows them. None: ids and scores are shown.
    """

    ids: NDArray[np.int32]
    scores: NDArray[np.float64]
    queries: tuple[int | None, ...]
    backbone: str
    metric: str
    texts: tuple[str, ...] = ()
    synthetic: bool = False
    reader: "Reader | None" = field(default=None, repr=False)

    def __len__(self) -> int:
        """The number of queries."""
        return len(self.ids)

    def __repr__(self) -> str:
        """A line for each of the first queries: its nearest images and their scores."""
        from featurestore.explore.notebook import neighbours_text

        return neighbours_text(self)

    def _repr_html_(self) -> str:
        from featurestore.explore.notebook import neighbours_html

        return neighbours_html(self)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> Any:
        """The table of `to_arrow` by the PyCapsule interface of Arrow, which Polars, DuckDB and pandas read."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> pa.Table:
        """One row per neighbour: ``query`` (index), ``rank`` (from 1), ``ImgId``, ``score``."""
        m, k = self.ids.shape
        found = (self.ids >= 0).ravel()
        return pa.table(
            {
                "query": np.repeat(np.arange(m), k)[found],
                "rank": np.tile(np.arange(1, k + 1), m)[found],
                "ImgId": self.ids.ravel()[found],
                "score": self.scores.ravel()[found],
            }
        )


def similar(
    reader: "Reader",
    query: Query | None = None,
    *,
    text: str | Sequence[str] | None = None,
    backbone: str,
    k: int = 10,
    where: str | None = None,
    metric: str = "cosine",
    model: "Backbone | str | None" = None,
    weights: str | Path | None = None,
    tensor: str | int | None = None,
    include_self: bool = False,
) -> Neighbours:
    """See `FeatureStore.similar`; the matrix and its copy are cached in the reader's memo until `refresh`."""
    if metric not in METRICS:
        raise InputError(f"got the metric {metric!r}, expected {', '.join(METRICS)}")
    if k < 1:
        raise InputError(f"got k = {k}, expected 1 or more")
    texts = _texts(text, query, metric)
    numbers: list[int | None] = [None]
    with reader.reading() as seen:
        (index, synthetic), again = _index(seen, backbone)
        if texts:
            loaded = backbone_of(seen, backbone, model=model, weights=weights, tensor=tensor)
            numbers, vectors = [None] * len(texts), embed_texts(loaded, texts)
        elif isinstance(query, (str, Path)):
            vectors = _embed_file(seen, query, backbone=backbone, model=model, weights=weights, tensor=tensor)
        elif weights is not None or tensor is not None or isinstance(model, str):
            raise InputError("model, weights and tensor are for a query by image file or text: leave them out")
        else:
            assert query is not None  # `_texts` raises where there is neither
            numbers, vectors = _vectors(query, index, backbone)
        allowed = None if where is None else np.flatnonzero(np.isin(index.ids, matching(seen, "collection", where)))
        copy = _copy(seen, backbone, index) if again and len(vectors) == 1 else None
    k = min(k, max(len(index.ids), 1))
    own = None if include_self else numbers
    ids, scores = nearest(index, vectors, k=k, metric=metric, allowed=allowed, own=own, copy=copy)
    return Neighbours(ids, scores, tuple(numbers), backbone, metric, texts, synthetic, reader)


def _index(reader: "Reader", backbone: str) -> tuple[tuple[Index, bool], bool]:
    """What is searched, with whether any of it is synthetic; and whether it was there already."""
    made = []

    def make() -> tuple[Index, bool]:
        features = rows.read(reader, backbone, view="images_usable")
        made.append(backbone)
        return Index(features.ids, features.X, lengths_of(features.X)), features.synthetic

    return reader.remember(f"search index of {backbone}", make), not made


def _copy(reader: "Reader", backbone: str, index: Index) -> Rounded | None:
    """The vectors in int8, which take longer to make than one query does: a process that asks once has none."""
    return reader.remember(f"int8 copy of {backbone}", lambda: rounded(index.X)) if usable(index.X) else None


def _texts(text: str | Sequence[str] | None, query: Query | None, metric: str) -> tuple[str, ...]:
    """The texts to search by; none where there is a ``query`` instead."""
    if text is None:
        if query is None:
            raise InputError("got nothing to search by, expected a query or text=")
        return ()
    if query is not None:
        raise InputError("got both a query and text=: leave one out")
    if metric != "cosine":
        raise InputError(f"got the metric {metric!r} for a text, which is compared by cosine: leave the metric out")
    texts = (text,) if isinstance(text, str) else tuple(text)
    if not texts:
        raise InputError("got no text, expected one or several, such as 'a red car at night'")
    return texts


def _vectors(
    query: int | NDArray[np.floating] | Sequence[int], index: Index, backbone: str
) -> tuple[list[int | None], NDArray[np.float32]]:
    """The id of each query, or None, and the query vectors ``(m, embed_dim)``."""
    array = np.atleast_1d(np.asarray(query))
    if array.dtype.kind not in "iuf":
        raise InputError(f"got a query of {array.dtype}, expected ImgIds or vectors of numbers")
    if array.ndim == 1 and array.dtype.kind in "iu":
        rows = np.searchsorted(index.ids, array)
        for place, img_id in zip(rows.tolist(), array.tolist(), strict=True):
            if place >= len(index.ids) or index.ids[place] != img_id:
                raise InputError(f"ImgId {img_id} has no embedding of {backbone!r}: embed it first, or query by file")
        return [int(img_id) for img_id in array], index.X[rows]
    vectors = np.atleast_2d(array).astype(np.float32)
    if array.dtype.kind != "f" or vectors.ndim != 2 or vectors.shape[1] != index.X.shape[1]:
        raise InputError(f"got a query of {array.shape} {array.dtype}, expected vectors of length {index.X.shape[1]}")
    if not np.isfinite(vectors).all():
        raise InputError("the query holds NaN or infinity, expected numbers")
    return [None] * len(vectors), vectors


def _embed_file(
    reader: "Reader",
    path: str | Path,
    *,
    backbone: str,
    model: "Backbone | str | None",
    weights: str | Path | None,
    tensor: str | int | None,
) -> NDArray[np.float32]:
    """The vector of an image file, ``(1, embed_dim)``, computed exactly as those in the store."""
    from featurestore.embedding.forward import embed_files

    return embed_files(backbone_of(reader, backbone, model=model, weights=weights, tensor=tensor), [path])


def backbone_of(
    reader: "Reader",
    backbone: str,
    *,
    model: "Backbone | str | None" = None,
    weights: str | Path | None = None,
    tensor: str | int | None = None,
) -> "Backbone":
    """The loaded backbone that computed the vectors of ``backbone`` in the store.

    Parameters
    ----------
    model, weights, tensor
        As those of `FeatureStore.similar`.

    Raises
    ------
    InputError
        When the store has no such backbone, its files can't be found, or it is another revision than the store's.
    """
    from featurestore.backbones.lookup import find_backbone
    from featurestore.backbones.registry import resolve

    shown = reader.state.revisions.get(backbone)
    if shown is None:
        hint = nearest_name(backbone, reader.state.revisions)
        raise InputError(f"the store has no backbone {backbone!r} ({hint}): embed it first")
    if model is None or isinstance(model, str):
        return find_backbone(stored_revision(reader, backbone), model=model, weights=weights, tensor=tensor)
    loaded = resolve(model, weights=weights, tensor=tensor)
    if loaded.spec.revision != shown:
        raise InputError(
            f"the store has revision {shown} of {backbone!r}, the model is {loaded.spec.revision}, so distances "
            "between them are meaningless: name the model, weights and tensor that the store was embedded with"
        )
    return loaded
