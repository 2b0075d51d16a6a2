"""What a vector must be to enter the store; nothing about where it comes from."""

import numpy as np
from numpy.typing import NDArray


def faults(vectors: NDArray[np.floating]) -> dict[int, str]:
    """Why each unusable row of ``vectors`` ``(n, embed_dim)`` can't be stored; an empty dict when all can.

    A vector is refused when it holds NaN or infinity, or when all its values are equal (zero among them): it
    would be a neighbour of everything, or of nothing.
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
