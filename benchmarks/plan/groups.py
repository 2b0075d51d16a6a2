"""Which rows are one image, or nearly, so that no split may part them: equal vectors, and pairs of near-duplicates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
from numpy.typing import NDArray

from featurestore import NearPairs, near_by_cosine, near_by_hash
from featurestore.errors import InputError


@dataclass(frozen=True)
class Grouping:
    """What is kept on one side of a split: duplicates, or with ``near`` also near-duplicates.

    Parameters
    ----------
    hash_distance, cosine
        Near-duplicates differ in at most this many of the 64 bits of their perceptual hashes, or have at least this
        cosine over a backbone. They are looked for, and warned of, without ``near`` too. No hashes are compared when
        ``hash_distance`` is None: rows of arrays have no image.
    """

    near: bool = False
    hash_distance: int | None = 4
    cosine: float = 0.98

    def __post_init__(self) -> None:
        """Raise `InputError` for thresholds out of range."""
        if not 0 <= (self.hash_distance or 0) <= 64 or not -1 <= self.cosine <= 1:
            raise InputError(
                f"got a hash distance of {self.hash_distance} bits and a cosine of {self.cosine}, expected 0 to 64 and "
                "-1 to 1"
            )

    def describe(self) -> str:
        """What is kept on one side, in words."""
        if not self.near:
            return "duplicates"
        bits = "" if self.hash_distance is None else f"{self.hash_distance} bits of the perceptual hash, "
        return f"near-duplicates ({bits}cosine {self.cosine:g})"


@dataclass(frozen=True)
class NearGroups:
    """The near-duplicates that one measure finds: pairs of groups, ``(m,)`` int64 each.

    ``measure`` names it with its threshold; ``failure`` says why there are none, if it could not be searched.
    """

    measure: str
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    failure: str = ""


def equal_vectors(X: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of ``X`` ``(n, d)`` that are bit for bit equal to an earlier one, and the first such one, ``(m,)``."""
    # The sum of the bits tells nearly all rows apart, at the speed of memory; only those of equal sums are compared.
    sums = np.ascontiguousarray(X).view(np.uint32).sum(axis=1, dtype=np.uint64)
    _, codes, counts = np.unique(sums, return_inverse=True, return_counts=True)
    seen: dict[bytes, int] = {}
    pairs = [(row, seen.setdefault(X[row].tobytes(), row)) for row in np.flatnonzero(counts[codes] > 1).tolist()]
    later, first = np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2).T
    return later, first


def joined(groups: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """``groups`` ``(n,)`` with those of the pairs of groups put together, over any number of steps.

    Each is named by its smallest; without pairs nothing changes.
    """
    if not len(first):
        return groups
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, codes = np.unique(groups, return_inverse=True)
    places = np.searchsorted(names, first), np.searchsorted(names, second)
    graph = coo_array((np.ones(len(first), np.int8), places), shape=(len(names), len(names)))
    _, parts = connected_components(graph, directed=False)
    _, smallest = np.unique(parts, return_index=True)
    return names[smallest][parts][codes]


def together_in(groups: NDArray[np.int64], before: NDArray[np.int64], near: NearGroups) -> NDArray[np.int64]:
    """``groups`` with near-duplicates put together, whose pairs have the names that groups had ``before``."""
    known, rows = np.unique(before, return_index=True)
    first, second = (groups[rows][np.searchsorted(known, names)] for names in (near.first, near.second))
    return joined(groups, first, second)


def with_equal_vectors(groups: NDArray[np.int64], X: NDArray[np.float32], dims: Sequence[int]) -> NDArray[np.int64]:
    """``groups`` ``(n,)`` with rows of equal vectors put together; ``X`` holds the columns of backbones of ``dims``."""
    for part in np.split(X, np.cumsum(dims)[:-1], axis=1):
        later, first = equal_vectors(part)
        groups = joined(groups, groups[first], groups[later])
    return groups


def union(several: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The groups ``(n,)`` of which each holds the rows that one of ``several`` puts together."""
    return reduce(lambda one, other: joined(one, one, _of_first(one, other)), several)


def _of_first(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row the group in ``one`` of the first row of its group in ``other``."""
    _, rows, codes = np.unique(other, return_index=True, return_inverse=True)
    return one[rows][codes]


def near_groups(
    groups: NDArray[np.int64], vectors: Mapping[str, NDArray[np.float32]], hashes: Sequence[str], grouping: Grouping
) -> tuple[NearGroups, ...]:
    """The near-duplicates among images of different ``groups`` ``(n,)``, by the hash and over each backbone.

    Parameters
    ----------
    vectors
        ``(n, d)`` by the backbone's name.
    hashes
        The perceptual hash of each row, ``""`` for one without an image.
    """
    # Of the copies of an image one is compared: all pairs of many copies would be very many.
    names, rows = np.unique(groups, return_index=True)
    bits, cosine = grouping.hash_distance, grouping.cosine
    found = []
    if bits is not None:
        search_hashes = partial(near_by_hash, [hashes[row] for row in rows.tolist()], bits)
        found.append(_searched(f"perceptual hash, at most {bits} of 64 bits apart", names, search_hashes))
    for name, X in vectors.items():
        once = X if len(rows) == len(X) else X[rows]
        search = partial(near_by_cosine, once, cosine)
        found.append(_searched(f"cosine over {name}, at least {cosine:g}", names, search))
    return tuple(found)


def _searched(measure: str, names: NDArray[np.int64], search: Callable[[], NearPairs]) -> NearGroups:
    """What ``search`` finds among groups of these ``names``; more pairs than can be listed are a failure."""
    try:
        pairs = search()
    except InputError as error:
        return NearGroups(measure, names[:0], names[:0], str(error))
    return NearGroups(measure, names[pairs.first], names[pairs.second])
