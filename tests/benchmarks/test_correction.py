"""Correction of p values for their number."""

import numpy as np
import pytest

from benchmarks.scores.correction import holm


def test_holm_is_that_of_the_paper() -> None:
    # Steps 4 × 0.01, 3 × 0.02, 2 × 0.03, 1 × 0.04, each at least the one before.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]) == []


def test_holm_is_that_of_statsmodels() -> None:
    from statsmodels.stats.multitest import multipletests

    for count in (1, 2, 66):
        p_values = np.random.default_rng(count).random(count) ** 4
        p_values[: count // 3] = p_values[0]
        assert holm(p_values.tolist()) == multipletests(p_values, method="holm")[1].tolist()
