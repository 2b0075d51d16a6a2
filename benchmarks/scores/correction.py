"""Correction of several p values for their number."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values that keep the family-wise error (Holm, Scandinavian Journal of Statistics 6, 1979).

    NaN is a comparison that was not made: it stays NaN and does not count.
    """
    adjusted = np.array(p_values, float)
    known = np.flatnonzero(~np.isnan(adjusted))
    ascending = known[np.argsort(adjusted[known], kind="stable")]
    steps = np.arange(len(ascending), 0, -1) * adjusted[ascending]
    adjusted[ascending] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]
