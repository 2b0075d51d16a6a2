"""Probabilities for rows whose classes are more or less frequent than those that were learned from."""

import numpy as np
from numpy.typing import NDArray


def reweighted(
    proba: NDArray[np.floating], *, learned: NDArray[np.floating], there: NDArray[np.floating]
) -> NDArray[np.float64]:
    """``proba`` ``(n, n_classes)`` as they are where the classes have the frequencies ``there``, not ``learned``.

    Bayes' rule, where the images of one class look the same in both places: equation 2.4 of Saerens, Latinne and
    Decaestecker, Neural Computation 14 (2002), 21-41. Their algorithm, which estimates ``there`` without labels, is not
    used: for a head that is too sure of images unlike its own it ends at one class alone.

    Parameters
    ----------
    learned, there
        ``(n_classes,)`` or ``(n, n_classes)``. A class that was not learned keeps its probability, zero.
    """
    weight = np.divide(there, learned, out=np.zeros(np.broadcast(there, learned).shape), where=learned > 0)
    raised = proba * weight
    total = raised.sum(axis=1, keepdims=True)
    # Where only classes are probable that are not there, nothing is left to reweight.
    return np.where(total > 0, raised / np.where(total > 0, total, 1.0), proba)
