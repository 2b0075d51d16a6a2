"""Exact nearest neighbours among the embeddings of one backbone: a float32 matrix product, then float64 reranking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.backbones.texts import embed_texts
from featurestore.errors import InputError
from featurestore.explore.inventory import stored_revision
from featurestore.features import rows
from featurestore.features.selection import matching

if TYPE_CHECKING:
    from featurestore.backbones.base import Backbone
    from featurestore.catalog.reader import Reader

METRICS = ("cosine", "inner_product", "euclidean")
# Additional candidates, beyond k, that are reranked in float64: float32 sums may swap nearly equal ones.
MARGIN = 32
Query = int | str | Path | NDArray[np.floating] | Sequence[int]


@dataclass(frozen=True)
class Neighbours:
    """The nearest images of each query, nearest first.

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
    """

    ids: NDArray[np.int32]
    scores: NDArray[np.float64]
    queries: tuple[int | None, ...]
    backbone: str
    metric: str
    texts: tuple[str, ...] = ()
    synthetic: bool = False

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


@dataclass(frozen=True)
class _Index:
    """The vectors of one backbone, with their norms and squared norms."""

    ids: NDArray[np.int32]
    X: NDArray[np.float32]
    lengths: NDArray[np.float32]
    squares: NDArray[np.float32]
    synthetic: bool


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
    """See `FeatureStore.similar`; the matrix is cached in the reader's memo until `refresh`."""
    if metric not in METRICS:
        raise InputError(f"got the metric {metric!r}, expected {', '.join(METRICS)}")
    if k < 1:
        raise InputError(f"got k = {k}, expected 1 or more")
    texts = _texts(text, query, metric)
    numbers: list[int | None] = [None]
    with reader.reading() as seen:
        index = seen.remember(f"search index of {backbone}", lambda: _index(seen, backbone))
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
    k = min(k, max(len(index.ids), 1))
    ids, scores = _search(index, vectors, k=k, metric=metric, allowed=allowed, own=None if include_self else numbers)
    return Neighbours(ids, scores, tuple(numbers), backbone, metric, texts, index.synthetic)


def _index(reader: "Reader", backbone: str) -> _Index:
    features = rows.read(reader, backbone, view="images_usable")
    squares = np.einsum("ij,ij->i", features.X, features.X)
    lengths = np.sqrt(np.where(squares > 0, squares, 1)).astype(np.float32)
    return _Index(features.ids, features.X, lengths, squares, features.synthetic)


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
    query: int | NDArray[np.floating] | Sequence[int], index: _Index, backbone: str
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
        raise InputError(f"there is no backbone {backbone!r} in the store: embed it first")
    if model is None or isinstance(model, str):
        return find_backbone(stored_revision(reader, backbone), model=model, weights=weights, tensor=tensor)
    loaded = resolve(model, weights=weights, tensor=tensor)
    if loaded.spec.revision != shown:
        raise InputError(
            f"the store has revision {shown} of {backbone!r}, the model is {loaded.spec.revision}, so distances "
            "between them are meaningless: name the model, weights and tensor that the store was embedded with"
        )
    return loaded


def _search(
    index: _Index,
    vectors: NDArray[np.float32],
    *,
    k: int,
    metric: str,
    allowed: NDArray[np.intp] | None,
    own: list[int | None] | None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Rank by one matrix product in float32, then rerank the best candidates in float64."""
    likeness = _likeness(index, vectors, metric, allowed)
    rows = np.arange(len(index.ids)) if allowed is None else allowed
    found = min(k + MARGIN, likeness.shape[1])
    ids = np.full((len(vectors), k), -1, np.int32)
    scores = np.full((len(vectors), k), np.nan)
    exact = _EXACT[metric]
    for place, vector in enumerate(vectors):
        best = np.argpartition(likeness[place], -found)[-found:] if found else np.zeros(0, np.intp)
        candidates = rows[best]
        if own is not None and own[place] is not None:
            candidates = candidates[index.ids[candidates] != own[place]]
        score = exact(index.X[candidates].astype(np.float64), vector.astype(np.float64))
        order = np.lexsort((index.ids[candidates], score if metric == "euclidean" else -score))[:k]
        ids[place, : len(order)] = index.ids[candidates[order]]
        scores[place, : len(order)] = score[order]
    return ids, scores


def _likeness(
    index: _Index, vectors: NDArray[np.float32], metric: str, allowed: NDArray[np.intp] | None
) -> NDArray[np.float32]:
    """A float32 score ``(m, rows)`` that is higher for more similar vectors."""
    rows = slice(None) if allowed is None else allowed
    matrix = index.X[rows]
    product: NDArray[np.float32] = vectors @ matrix.T if len(vectors) > 1 else (matrix @ vectors[0])[None]
    if metric == "cosine":
        # Dividing n products by n norms is cheaper than keeping a second, normalised matrix.
        product /= index.lengths[rows]
    elif metric == "euclidean":
        product *= 2
        product -= index.squares[rows]
    return product


def _cosine(X: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(v)
    return np.divide(X @ v, lengths, out=np.zeros(len(X)), where=lengths > 0)


_EXACT: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]] = {
    "cosine": _cosine,
    "inner_product": lambda X, v: X @ v,
    "euclidean": lambda X, v: np.linalg.norm(X - v, axis=1),
}
