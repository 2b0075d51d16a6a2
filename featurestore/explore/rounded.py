"""A copy of a matrix in int8, a quarter of its bytes, whose products with a query come with a bound of their error.

It needs the package simsimd, and a processor with instructions for products of int8: `usable` says if both are there.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.errors import MissingExtra

# Lengths, and largest values, between which squares in float32 neither overflow nor vanish.
ORDINARY = (1e-12, 1e12)
# A matrix of fewer elements is searched in a millisecond without a copy; for shorter rows, what is done once a row
# costs as much as the copy saves.
SMALLEST, SHORTEST = 2**22, 128
# Elements that a thread rounds at a time, half of what a processor's own cache holds, and rows that it multiplies.
BLOCK, TASK = 2**17, 8192
# The names that simsimd gives to instructions: AVX2, AVX-512 VNNI, ARM's dot products.
INSTRUCTIONS = ("haswell", "ice", "neon_i8")


@dataclass(frozen=True)
class Rounded:
    """A matrix ``X`` ``(n, d)`` as ``steps`` × ``codes``, and how far that is from it.

    Parameters
    ----------
    codes
        ``(n, d)``, from -127 to 127.
    steps
        ``(n,)``.
    residuals
        ``(n,)``: no row is further than this from ``steps`` × ``codes``; infinite for one too large or too small.
    """

    codes: NDArray[np.int8]
    steps: NDArray[np.float32]
    residuals: NDArray[np.float32]


@cache
def _simsimd() -> ModuleType | None:
    """The package, if it is installed and knows the instructions of this processor."""
    try:
        simsimd = import_extra("simsimd", "search", needed_by="search in a copy of int8")
    except MissingExtra:
        return None
    has = simsimd.get_capabilities()
    return simsimd if any(has.get(name) for name in INSTRUCTIONS) else None


def usable(X: NDArray[np.float32]) -> bool:
    """Whether a copy of this matrix can be made and would be faster to search."""
    # Sums of longer rows would be too large for int32.
    return X.size >= SMALLEST and SHORTEST <= X.shape[1] < 2**17 and _simsimd() is not None


def rounded(X: NDArray[np.float32]) -> Rounded:
    """The copy of a matrix of finite numbers."""
    copy = Rounded(np.empty(X.shape, np.int8), np.empty(len(X), np.float32), np.empty(len(X), np.float32))
    size = max(1, BLOCK // X.shape[1])
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda start: _round(X, copy, slice(start, start + size)), range(0, len(X), size)))
    return copy


def _round(X: NDArray[np.float32], copy: Rounded, rows: slice) -> None:
    block = X[rows]
    top = np.maximum(block.max(axis=1), -block.min(axis=1))
    ordinary = (top > ORDINARY[0]) & (top < ORDINARY[1])
    steps = np.where(ordinary, top, 0) / np.float32(127)
    scaled = block * np.where(ordinary, 127 / np.where(ordinary, top, 1), 0)[:, None]
    np.rint(scaled, out=scaled)
    copy.codes[rows] = scaled
    copy.steps[rows] = steps
    scaled *= steps[:, None]
    np.subtract(block, scaled, out=scaled, where=ordinary[:, None])
    squares = np.einsum("ij,ij->i", scaled, scaled)
    # float32 is wrong by a share of the value that it rounds, and of the sum.
    dim = X.shape[1]
    residuals = np.sqrt(squares) * (1 + dim * 2.0**-23) + top * (np.sqrt(dim) * 2.0**-22)
    copy.residuals[rows] = np.where(ordinary | (top == 0), residuals, np.inf)


def products(
    copy: Rounded, rows: slice | NDArray[np.intp], vector: NDArray[np.float64], lengths: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The products ``(1, r)`` of a query ``(d,)`` and rows, and how much roundings to int8 make each wrong, ``(r,)``.

    The error is that of a query of length 1. ``lengths`` are those of the rows, at most a hundredth too small.
    """
    simsimd = _simsimd()
    assert simsimd is not None  # else there is no copy
    step = float(np.abs(vector).max(initial=0)) / 127 or 1.0
    code = np.rint(vector / step)
    # |x·v − x'·v'| ≤ |x − x'| |v| + |x'| |v − v'| for the rounded x' and v', and |x'| ≤ |x| + |x − x'|.
    length = float(np.linalg.norm(vector))
    left = np.float32(1.001 * np.linalg.norm(vector - code * step) / length) if length else np.float32(0)
    query = code.astype(np.int8)[None]
    codes, steps, residuals = copy.codes[rows], copy.steps[rows], copy.residuals[rows]
    product, errors = np.empty(len(codes), np.float32), np.empty(len(codes), np.float32)

    # What overflows has no bound, and is scored; these settings are a thread's own.
    @np.errstate(over="ignore", invalid="ignore")
    def some(start: int) -> None:
        part = slice(start, start + TASK)
        # Sums of int32, exact; the largest are rounded to float32.
        np.multiply(np.asarray(simsimd.cdist(codes[part], query, "dot")).ravel(), steps[part], out=product[part])
        product[part] *= np.float32(step)
        np.multiply(residuals[part], 1 + left, out=errors[part])
        errors[part] += lengths[part] * (np.float32(1.01) * left)

    # Its own threads, those of OpenMP, don't survive a fork of the process.
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(some, range(0, len(codes), TASK)))
    return product[None], errors
