"""McNemar's exact test of two classifiers on the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class McNemar:
    """How many images only the first classifies correctly, how many only the second, and the two-sided p value."""

    only_a: int
    only_b: int
    p_value: float


def mcnemar(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> McNemar:
    """The exact binomial test of whether both are as often right alone; ``a``, ``b``: ``(n,)`` whether each is right.

    >>> mcnemar(np.array([True] * 9 + [False]), np.array([False] * 8 + [True] * 2))
    McNemar(only_a=8, only_b=1, p_value=0.0390625)
    """
    from scipy.stats import binomtest

    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    differing = only_a + only_b
    return McNemar(only_a, only_b, float(binomtest(only_a, differing).pvalue) if differing else 1.0)
