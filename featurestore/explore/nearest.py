"""The exact nearest rows of a matrix: estimates and a bound of their error leave few rows, which float64 scores.

A score depends on the two vectors alone, so that neither the kind of estimate nor what is searched together with a
query changes an answer. Rows and queries are taken in blocks, so that memory is bounded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featurestore.explore.rounded import ORDINARY, Rounded, products

# Bytes and rows of a block of the matrix, and queries that share its product.
BLOCK_BYTES, BLOCK_ROWS, QUERIES = 2**28, 2**22, 128
# Elements that are scored at a time: as much as a processor's own cache holds.
SCORED = 2**16
# A filter that leaves fewer than one in so many rows of a block has them copied; else the whole block is estimated.
GATHERED = 4
# Groups whose maxima bound the k-th largest of a block from below: cheaper than a partition of it.
GROUPS = 512


@dataclass(frozen=True)
class Index:
    """Rows to search among.

    Parameters
    ----------
    ids
        ``(n,)``, ascending.
    X
        ``(n, d)``, finite.
    lengths
        ``(n,)``, as `lengths_of` computes them.
    """

    ids: NDArray[np.int32]
    X: NDArray[np.float32]
    lengths: NDArray[np.float32]


@dataclass(frozen=True)
class _Block:
    """Rows that are estimated together: those of ``part``. Only the places ``picked`` of it are searched, if given."""

    part: slice | NDArray[np.intp]
    picked: NDArray[np.intp] | None = None

    def rows(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """The rows at these places of what is searched."""
        if self.picked is not None:
            places = self.picked[places]
        return places + self.part.start if isinstance(self.part, slice) else self.part[places]


@dataclass(frozen=True)
class _Estimates:
    """Values ``(r,)`` that rise with similarity; they are wrong by at most ``unit`` × the query's length + ``rest``."""

    likeness: NDArray[np.float32]
    unit: NDArray[np.float32]
    rest: NDArray[np.float32]
    widest: tuple[float, float]


@dataclass
class _Best:
    """The nearest of one query so far: ids and scores, best first, and the likeness below which no row is one."""

    k: int
    metric: str
    vector: NDArray[np.float64]
    own: int | None
    length: float = 0.0
    ids: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    scores: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    floor: float = -np.inf


def lengths_of(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """The Euclidean lengths of the rows ``(n,)``, with a relative error of at most `rounding`."""
    found = np.empty(len(X), np.float32)
    size = max(1, SCORED // max(X.shape[1], 1))
    with np.errstate(over="ignore"):
        for start in range(0, len(X), size):
            block = X[start : start + size]
            squares = np.einsum("ij,ij->i", block, block).astype(np.float64)
            # Squares of float32 overflow above 1e19, and vanish below 1e-19.
            odd = ~((squares > ORDINARY[0] ** 2) & (squares < ORDINARY[1] ** 2))
            if odd.any():
                squares[odd] = np.square(block[odd], dtype=np.float64).sum(axis=1)
            found[start : start + size] = np.sqrt(squares)
    return found


def rounding(dim: int) -> float:
    """The most that a float32 product of vectors of length 1 is wrong, in any order of summation, and some to spare."""
    return (dim + 16) * 2.0**-24


def nearest(
    index: Index,
    vectors: NDArray[np.float32],
    *,
    k: int,
    metric: str,
    allowed: NDArray[np.intp] | None = None,
    own: Sequence[int | None] | None = None,
    copy: Rounded | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Ids and scores ``(m, k)`` of the nearest rows, nearest first, then by id; -1 and NaN where there are fewer.

    Parameters
    ----------
    vectors
        ``(m, d)``, finite.
    allowed
        The rows to search among, ascending; all when None.
    own
        For each query the id that it must not find, or None.
    copy
        The rows in int8, which a single query reads in place of ``X``.
    """
    ids = np.full((len(vectors), k), -1, np.int32)
    scores = np.full((len(vectors), k), np.nan)
    for start in range(0, len(vectors), QUERIES):
        group = vectors[start : start + QUERIES]
        others = [None] * len(group) if own is None else own[start : start + QUERIES]
        found = [_Best(k, metric, v, other) for v, other in zip(group.astype(np.float64), others, strict=True)]
        for best in found:
            best.length = float(np.linalg.norm(best.vector))
        # What overflows has no bound, and is scored.
        with np.errstate(over="ignore", invalid="ignore"):
            _search(index, group, found, allowed=allowed, copy=copy if len(vectors) == 1 else None)
        for place, best in enumerate(found, start):
            ids[place, : len(best.ids)] = best.ids
            scores[place, : len(best.ids)] = best.scores
    return ids, scores


def _search(
    index: Index,
    vectors: NDArray[np.float32],
    found: list[_Best],
    *,
    allowed: NDArray[np.intp] | None,
    copy: Rounded | None,
) -> None:
    """Fill ``found``, one for each of the vectors."""
    bytes_of_row = index.X.shape[1] * (4 if copy is None else 1)
    size = max(1, min(BLOCK_BYTES // max(bytes_of_row, 1), BLOCK_ROWS // len(vectors)))
    share, metric = np.float32(rounding(index.X.shape[1])), found[0].metric
    for block in _blocks(len(index.ids), size, allowed):
        lengths = index.lengths[block.part]
        unit = np.where(_ordinary(lengths), share * lengths, np.float32(np.inf))
        if copy is None:
            # BLAS takes a third less time for this order than for `vectors @ X.T`, the copy included.
            product = np.ascontiguousarray((index.X[block.part] @ vectors.T).T)
        else:
            product, more = products(copy, block.part, found[0].vector, lengths)
            unit += more
        unit, rest = _to_likeness(metric, product, unit, lengths, share=share)
        widest = float(unit.max()), float(rest.max())
        if block.picked is not None:
            product, unit, rest = product[:, block.picked], unit[block.picked], rest[block.picked]
        for best, likeness in zip(found, product, strict=True):
            _offer(best, index, block, _Estimates(likeness, unit, rest, widest))


def _blocks(count: int, size: int, allowed: NDArray[np.intp] | None) -> Iterator[_Block]:
    """The rows that are searched, all of ``count`` or those allowed, from ``size`` of the matrix at a time."""
    for start in range(0, count, size):
        end = min(start + size, count)
        if allowed is None:
            yield _Block(slice(start, end))
            continue
        rows = allowed[np.searchsorted(allowed, start) : np.searchsorted(allowed, end)]
        if len(rows) * GATHERED >= end - start:
            yield _Block(slice(start, end), rows - start)
        elif len(rows):
            yield _Block(rows)


def _ordinary(lengths: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where float32 products neither overflow nor vanish."""
    return (lengths == 0) | ((lengths > ORDINARY[0]) & (lengths < ORDINARY[1]))


def _to_likeness(
    metric: str,
    product: NDArray[np.float32],
    unit: NDArray[np.float32],
    lengths: NDArray[np.float32],
    *,
    share: np.float32,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Turn products ``(m, r)`` in place into likeness, and return its error as `_Estimates` has it.

    For a row x and a query v: x·v ÷ |x| for cosine, x·v for the inner product, 2 x·v − |x|² for Euclidean distance.
    """
    nothing = np.zeros_like(lengths)
    if metric == "cosine":
        divisors = np.maximum(lengths, np.float32(ORDINARY[0]))
        product /= divisors
        unit /= divisors
        unit += share
        return unit, nothing
    if metric == "euclidean":
        squares = np.square(lengths)
        product *= 2
        product -= squares
        return 2 * unit, 2 * share * squares
    return unit, nothing


def _offer(best: _Best, index: Index, block: _Block, estimates: _Estimates) -> None:
    """Score the rows of a block that may be among the nearest."""
    likeness = estimates.likeness
    widest = estimates.widest[0] * _reach(best) + estimates.widest[1]
    # Nothing is as large as a number that is none; what is itself none stays near.
    count, reached = best.k + (best.own is not None), np.nan
    near = ~(likeness < best.floor - widest)
    if np.count_nonzero(near) > 4 * count:
        # Those that look nearest raise the floor for the others.
        reached = _reached(likeness, count)
        _score(best, index, block.rows(np.flatnonzero(near & (likeness >= reached))))
        near = ~(likeness < best.floor - widest)
    places = np.flatnonzero(near)
    places = places[~(likeness[places] >= reached)]
    most = likeness[places] + (estimates.unit[places] * _reach(best) + estimates.rest[places])
    _score(best, index, block.rows(places[~(most < best.floor)]))


def _reach(best: _Best) -> float:
    """The length of the query; infinite where products with it may overflow or vanish."""
    return best.length if best.length == 0 or ORDINARY[0] < best.length < ORDINARY[1] else np.inf


def _reached(values: NDArray[np.float32], count: int) -> float:
    """A value that at least ``count`` of the values reach, near the largest such."""
    height = len(values) // GROUPS
    if height > 1 and 4 * count <= GROUPS:
        values = values[: height * GROUPS].reshape(height, GROUPS).max(axis=0)
    return float(np.partition(values, -count)[-count])


def _score(best: _Best, index: Index, rows: NDArray[np.intp]) -> None:
    """Take the nearest of these rows into ``best``."""
    if best.own is not None:
        rows = rows[index.ids[rows] != best.own]
    size = max(1, SCORED // max(index.X.shape[1], 1))
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        scores = np.concatenate([best.scores, exact_scores(index.X[some], best.vector, best.metric)])
        ids = np.concatenate([best.ids, index.ids[some]])
        order = np.lexsort((ids, scores if best.metric == "euclidean" else -scores))[: best.k]
        best.ids, best.scores = ids[order], scores[order]
    if len(rows) and len(best.scores) == best.k:
        best.floor = _floor(float(best.scores[-1]), best.length, best.metric)


def _floor(score: float, length: float, metric: str) -> float:
    """The likeness of a row of this score, less what float64 may be wrong, within the range of float32."""
    if metric == "euclidean":
        found = length**2 - score**2 - 1e-12 * (length**2 + score**2)
    else:
        found = score * length if metric == "cosine" else score
    return min(max(found, -3e38), 3e38)


def exact_scores(X: NDArray[np.float32], vector: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """The scores ``(n,)`` of rows and a query, in float64; each depends on its row and the query alone."""
    rows = X.astype(np.float64)
    if metric == "euclidean":
        return np.linalg.norm(rows - vector, axis=1)
    # A matrix product would sum a row in another order where other rows stand beside it.
    product: NDArray[np.float64] = np.vecdot(rows, vector)
    if metric == "inner_product":
        return product
    lengths = np.sqrt(np.vecdot(rows, rows)) * np.linalg.norm(vector)
    return np.divide(product, lengths, out=np.zeros(len(rows)), where=lengths > 0)
