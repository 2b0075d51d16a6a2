"""Checks whether vectors may be stored; it does not read or compute them."""

import numpy as np
from numpy.typing import NDArray


def faults(vectors: NDArray[np.floating]) -> dict[int, str]:
    """The rows of ``vectors`` ``(n, embed_dim)`` that can't be stored, each with the reason; empty if all can.

    A vector is refused when it holds NaN or infinity, or when all its values are equal (including zero): its
    distances would carry no information.
    """
    found: dict[int, str] = {}
    if not vectors.size:
        return found
    finite = np.isfinite(vectors).all(axis=1)
    constant = (vectors == vectors[:, :1]).all(axis=1) & (vectors.shape[1] > 1)
    for row in np.flatnonzero(~finite | constant):
        if not finite[row]:
            found[int(row)] = "the embedding holds NaN or infinity"
        else:
            found[int(row)] = f"the embedding is constant (every value is {vectors[row, 0]:g})"
    return found
