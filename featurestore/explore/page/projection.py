"""Maps of a backbone's embeddings in two dimensions: principal axes at once, others from the table `projections`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.errors import InputError
from featurestore.explore.page.shown import has_table
from featurestore.features.image_index import find_places, image_index
from featurestore.features.places import Places
from featurestore.features.pull import read_vectors
from featurestore.features.rows import backbone_names
from featurestore.storage.names import nearest

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

PCA = "pca"
TABLE = "projections"
SCHEMA = pa.schema(
    [
        pa.field("ImgId", pa.int32(), nullable=False),
        pa.field("backbone", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("method", pa.string(), nullable=False),
        pa.field("params", pa.string(), nullable=False),  # JSON
        pa.field("x", pa.float32(), nullable=False),
        pa.field("y", pa.float32(), nullable=False),
    ]
)
# Points that the page gets at once; of more images a fixed sample, and a picture of how dense they lie.
MOST_POINTS = 50_000
SEED = 0
# Principal axes are those of so many images, a fixed sample: of more they are hardly others, and the page would wait.
MOST_FITTED = 10_000
# Subspace iteration: directions beside those that are asked for, and rounds.
OVERSAMPLING, ROUNDS = 10, 10
BATCH_ROWS = 16_384
# Maps lie in [-1, 1]: a window or polygon that is asked for ends at this distance, and is no narrower than this.
FARTHEST, NARROWEST = 1_000, 1e-9


@dataclass(frozen=True)
class Axes:
    """An affine map of vectors ``(d,)`` to the plane: ``(x - mean) @ directions``, ``directions`` ``(d, 2)``."""

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    def place(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """The positions ``(n, 2)`` float32 of ``X`` ``(n, d)``."""
        return (X @ self.directions - self.mean @ self.directions).astype(np.float32)


@dataclass(frozen=True)
class Points:
    """Images on a map of ``total``: ids ``(n,)`` int32 ascending, positions ``(n, 2)`` float32 in [-1, 1]."""

    ids: NDArray[np.int32]
    xy: NDArray[np.float32]
    total: int


def principal_axes(X: NDArray[np.float32]) -> Axes:
    """The first two principal axes of ``X`` ``(n, d)``, zeros where there are fewer."""
    mean, basis = _subspace(X, 2)
    directions = np.zeros((X.shape[1], 2), np.float32)
    directions[:, : basis.shape[1]] = basis
    return Axes(mean, directions)


def leading_axes(X: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The positions ``(n, m)`` of ``X`` ``(n, d)`` on its first principal axes, ``m`` at most ``count``."""
    mean, basis = _subspace(X, count)
    return X @ basis - mean @ basis


def _subspace(X: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean ``(d,)`` of ``X`` ``(n, d)`` and its first principal axes ``(d, m)``, at most ``count``.

    By subspace iteration with a fixed start, after Halko, Martinsson and Tropp (2011): the covariance of 2,048 values
    would take longer than everything else. The largest weight of each axis is positive.
    """
    n, d = X.shape
    mean = X.mean(axis=0, dtype=np.float64).astype(np.float32) if n else np.zeros(d, np.float32)
    width = min(d, count + OVERSAMPLING)
    basis = np.linalg.qr(np.random.default_rng(SEED).standard_normal((d, width)))[0].astype(np.float32)
    for _ in range(ROUNDS if n else 0):
        seen = X @ basis - mean @ basis
        basis = np.linalg.qr(X.T @ seen - np.outer(mean, seen.sum(axis=0)))[0]
    seen = (X @ basis - mean @ basis).astype(np.float64)
    values, turn = np.linalg.eigh(seen.T @ seen)
    axes = basis @ turn[:, np.argsort(values)[::-1][:count]]
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    return mean, (axes * np.where(signs == 0, 1, signs)).astype(np.float32)


def points(store: "Explorer", backbone: str, method: str = PCA) -> Points:
    """Where the images with a vector of ``backbone`` lie: all of them, or a fixed sample of `MOST_POINTS`.

    Raises
    ------
    InputError
        When there is no such backbone or map.
    """
    backbone_names(store, backbone)
    if method != PCA:
        return sampled(all_points(store, backbone, method))
    return _by_axes(store, backbone).points


def all_points(store: "Explorer", backbone: str, method: str = PCA) -> Points:
    """As `points`, but all of them: for more than `MOST_POINTS` images every vector is read."""
    backbone_names(store, backbone)
    if method != PCA:
        return store.remember(f"map {method} of {backbone}", lambda: _stored(store, backbone, method))
    first = _by_axes(store, backbone)
    if len(first.points.ids) == first.points.total:
        return first.points
    return store.remember(f"all points of {backbone}", lambda: _all_placed(store, backbone, first))


def _by_axes(store: "Explorer", backbone: str) -> "MapOfAxes":
    return store.remember(f"points of {backbone}", lambda: _first_points(store, backbone))


def maps(store: "Explorer") -> dict[tuple[str, str], int]:
    """The number of images on each map that is stored for the current revision, by backbone and method."""
    if not has_table(store, TABLE, SCHEMA):
        return {}
    rows = store.query(
        f"SELECT backbone, revision, method, count(*) AS n FROM {TABLE} GROUP BY ALL ORDER BY ALL"
    ).to_pylist()
    shown = store.state.revisions
    return {
        (row["backbone"], row["method"]): row["n"]
        for row in rows
        if row["method"] != PCA and shown.get(row["backbone"]) == row["revision"]
    }


def sampled(found: Points, window: tuple[float, float, float, float] | None = None) -> Points:
    """Those in the window (x0, y0, x1, y1), at most `MOST_POINTS`; an image that is shown stays so when zoomed in."""
    inside, total = np.arange(len(found.ids)), len(found.ids)
    if window is not None:
        x0, y0, x1, y1 = window
        x, y = found.xy.T
        inside = np.flatnonzero((x >= x0) & (x <= x1) & (y >= y0) & (y <= y1))
        total = len(inside)
    if len(inside) > MOST_POINTS:
        rank = _ranks(len(found.ids))[inside]
        inside = inside[np.sort(np.argpartition(rank, MOST_POINTS)[:MOST_POINTS])]
    return Points(found.ids[inside], found.xy[inside], total)


def _sample(count: int, most: int) -> NDArray[np.intp] | slice:
    """A fixed sample of ``most`` of ``count`` rows, ascending; all of them if there are no more."""
    return np.flatnonzero(_ranks(count) < most) if count > most else slice(None)


def _ranks(count: int) -> NDArray[np.intp]:
    """A fixed random order of ``count`` images: who is in a sample of m is also in every larger one."""
    return np.random.default_rng(SEED).permutation(count)


@dataclass(frozen=True)
class MapOfAxes:
    """Points of the principal axes, and what places further images: axes, centre ``(2,)`` and scale of the map."""

    points: Points
    axes: Axes
    centre: NDArray[np.float32]
    scale: float


def _first_points(store: "Explorer", backbone: str) -> MapOfAxes:
    """The map by principal axes of at most `MOST_POINTS` images, whose vectors alone are read."""
    ids, places, images = _embedded(store, backbone)
    total = len(images)
    images = images[_sample(total, MOST_POINTS)]
    X = read_vectors(places, images, store.layout.dim(backbone))
    axes = principal_axes(X[_sample(len(X), MOST_FITTED)])
    xy = axes.place(X)
    centre, scale = _frame(xy)
    return MapOfAxes(Points(ids[images], _framed(xy, centre, scale), total), axes, centre, scale)


def _all_placed(store: "Explorer", backbone: str, first: MapOfAxes) -> Points:
    """All images on the map of some of them; their vectors are read in batches."""
    ids, places, images = _embedded(store, backbone)
    dim = store.layout.dim(backbone)
    placed = [
        first.axes.place(read_vectors(places, images[start : start + BATCH_ROWS], dim))
        for start in range(0, len(images), BATCH_ROWS)
    ]
    return Points(ids[images], _framed(np.concatenate(placed), first.centre, first.scale), len(images))


def _embedded(store: "Explorer", backbone: str) -> tuple[NDArray[np.int32], Places, NDArray[np.intp]]:
    """The ids of all usable images, where vectors of ``backbone`` lie, and the places of the images that have one."""
    index = image_index(store)
    places = find_places(store, index, backbone, np.arange(len(index.ids)))
    return index.ids, places, np.flatnonzero(places.file >= 0)


def _frame(xy: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The centre of all positions, and the half of the longer side of what holds them; 1 where they are all one."""
    if not len(xy):
        return np.zeros(2, np.float32), 1.0
    low, high = xy.min(axis=0), xy.max(axis=0)
    return (low + high) / 2, float((high - low).max() / 2) or 1.0


def _framed(xy: NDArray[np.float32], centre: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    """``xy`` in [-1, 1]; both axes keep one scale, since distances are what a map shows."""
    return np.clip((xy - centre) / np.float32(scale), -1, 1).astype(np.float32)


def _stored(store: "Explorer", backbone: str, method: str) -> Points:
    if (backbone, method) not in maps(store):
        have = [name for of, name in maps(store) if of == backbone]
        raise InputError(
            f"there is no map {method!r} of the current revision of {backbone!r} ({nearest(method, [PCA, *have])}): "
            f"make one with `featurestore project --backbone {backbone}`"
        )
    rows = store.query(
        f"SELECT p.ImgId, p.x, p.y FROM {TABLE} AS p SEMI JOIN images_usable AS i ON i.ImgId = p.ImgId "
        "WHERE p.backbone = ? AND p.revision = ? AND p.method = ? ORDER BY p.ImgId",
        [backbone, store.state.revisions[backbone], method],
    )
    xy = np.column_stack([arrow.to_numpy(rows["x"]), arrow.to_numpy(rows["y"])]).astype(np.float32)
    return Points(arrow.to_numpy(rows["ImgId"]).astype(np.int32), _framed(xy, *_frame(xy)), len(rows))
