"""Planted leaks of each kind are refused or flagged; honest data passes."""

import numpy as np
import pytest
from datasets_for_bench import plain_dataset

from benchmarks.plan.checks import fitted_outside, label_columns, warnings_of
from benchmarks.plan.protocols import Protocol, Split


def test_honest_vectors_raise_no_flag() -> None:
    data = plain_dataset(120, 40)
    assert warnings_of([data], list(Protocol("cv", folds=3).splits(data))) == []


@pytest.mark.parametrize("plant", ["code", "indicator", "shuffled code", "noisy code"])
def test_the_label_among_the_columns(plant: str) -> None:
    data = plain_dataset(120, 40)
    y = data.y.astype(float)
    rng = np.random.default_rng(0)
    data.X[:, 17] = {
        "code": y,
        "indicator": y == 1,
        "shuffled code": np.array([5.0, -3.0, 1.0])[data.y],
        "noisy code": y + rng.normal(0, 0.2, 120),
    }[plant]
    assert (label_columns(data) or "").startswith("LEAK: column 17 of b nearly is the label")


def test_a_scaler_outside_the_folds() -> None:
    data = plain_dataset(120, 40)
    assert fitted_outside(data) is None
    data.X[:] = (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)
    assert "standardised over all rows" in (fitted_outside(data) or "")
    data.X[:] *= np.linspace(0.5, 2, 40)
    assert "centred over all rows" in (fitted_outside(data) or "")
    assert fitted_outside(data.only(data.ids[:100])) is None, "scaled over more rows than these is another matter"


def test_a_scaler_to_a_span_outside_the_folds() -> None:
    data = plain_dataset(120, 40)
    data.X[:] = (data.X - data.X.min(axis=0)) / np.ptp(data.X, axis=0)
    assert "brought to 0 … 1 over all rows" in (fitted_outside(data) or "")
    assert fitted_outside(data.only(data.ids[:60])) is None


def test_a_duplicate_across_the_study_split_is_counted() -> None:
    data = plain_dataset(40, 5)
    data.groups[30] = data.groups[3]
    split = Split("study", 0, 0, np.arange(20), np.arange(20, 40))
    assert warnings_of([data], [split]) == [
        "1 test row has a duplicate (an equal file, or equal vectors) in the training part of this split"
    ]


def test_constant_vectors_are_no_leak() -> None:
    data = plain_dataset(40, 5)
    data.X[:] = 1
    assert label_columns(data) is None
    assert fitted_outside(data) is None
