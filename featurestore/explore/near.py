"""Finds pairs of near-duplicates, by the difference hashes of images or by the cosine of vectors; it reads no store."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import InputError

# Differing bits of 64, and the cosine, of what counts as a near-duplicate.
HASH_DISTANCE, COSINE = 4, 0.98
# Elements of the matrix of all pairs that are computed at a time.
BLOCK_SIZE = 2**23
# More pairs than this are no list that anybody examines, and take memory.
MOST_PAIRS = 5_000_000


class NearPairs(NamedTuple):
    """Pairs of rows, ``first`` < ``second``, each ``(m,)`` int64, and how alike they are, ``(m,)``."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    value: NDArray[np.generic]


def near_by_hash(hashes: Sequence[str], bits: int = HASH_DISTANCE) -> NearPairs:
    """Pairs of images whose difference hashes differ in at most ``bits`` bits, with the number of bits.

    Parameters
    ----------
    hashes
        16 hex digits for each row, ``""`` for one without an image, which is in no pair.

    Raises
    ------
    InputError
        When there are more than `MOST_PAIRS`.
    """
    rows = np.array([row for row, text in enumerate(hashes) if text], np.int64)
    codes = np.array([int(text, 16) for text in hashes if text], np.uint64)

    def near(start: int, end: int) -> tuple[NDArray[np.bool_], NDArray[np.generic]]:
        distance = np.bitwise_count(codes[start:end, None] ^ codes[None, start:])
        return distance <= bits, distance

    advice = f"hashes that differ in at most {bits} bits: lower --hash-distance"
    first, second, value = _pairs(len(rows), near, advice=advice)
    return NearPairs(rows[first], rows[second], value)


def near_by_cosine(
    X: NDArray[np.float32], cosine: float = COSINE, *, on_block: Callable[[int], None] = lambda done: None
) -> NearPairs:
    """Pairs of rows of ``X`` ``(n, d)`` with at least this cosine, with the cosine.

    They are computed in blocks, so that memory is not quadratic in the number of rows; ``on_block`` is called with how
    many rows are done.

    Raises
    ------
    InputError
        When there are more than `MOST_PAIRS`.
    """
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    unit = X / np.where(norms > 0, norms, np.float32(1))

    def near(start: int, end: int) -> tuple[NDArray[np.bool_], NDArray[np.generic]]:
        likeness = unit[start:end] @ unit[start:].T
        return likeness >= cosine, likeness

    advice = f"vectors with a cosine of {cosine:g} or more: raise --cosine"
    return _pairs(len(X), near, advice=advice, on_block=on_block)


def _pairs(
    count: int,
    near: Callable[[int, int], tuple[NDArray[np.bool_], NDArray[np.generic]]],
    *,
    advice: str,
    on_block: Callable[[int], None] = lambda done: None,
) -> NearPairs:
    """The pairs that ``near`` finds between the rows ``start`` to ``end`` and those from ``start`` on."""
    block = max(64, BLOCK_SIZE // max(count, 1))
    found: list[NearPairs] = []
    total = 0
    for start in range(0, count, block):
        end = min(start + block, count)
        chosen, values = near(start, end)
        a, b = np.nonzero(chosen)
        # Each pair once: a block reaches from the diagonal on.
        a, b = a[a < b], b[a < b]
        total += len(a)
        if total > MOST_PAIRS:
            raise InputError(f"more than {MOST_PAIRS:,} pairs of {advice}")
        found.append(NearPairs(start + a, start + b, values[a, b]))
        on_block(end)
    if not found:
        nothing = np.empty(0, np.int64)
        return NearPairs(nothing, nothing, np.empty(0, np.float32))
    first, second, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return NearPairs(first, second, value)
