"""Metrics against scikit-learn and against figures known from elsewhere."""

import numpy as np
import pytest
from sklearn import metrics as reference

from benchmarks.metrics import METRICS, wilson


def example() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 4, 200)
    proba = rng.dirichlet(np.ones(4), 200) + 0.6 * np.eye(4)[y]
    return y, (proba / proba.sum(1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", lambda y, p: reference.accuracy_score(y, p.argmax(1))),
        ("balanced_accuracy", lambda y, p: reference.balanced_accuracy_score(y, p.argmax(1))),
        ("precision_weighted", lambda y, p: reference.precision_score(y, p.argmax(1), average="weighted")),
        ("recall_weighted", lambda y, p: reference.recall_score(y, p.argmax(1), average="weighted")),
        ("f1_weighted", lambda y, p: reference.f1_score(y, p.argmax(1), average="weighted")),
        ("f1_macro", lambda y, p: reference.f1_score(y, p.argmax(1), average="macro")),
        ("log_loss", lambda y, p: reference.log_loss(y, p.astype(float) / p.astype(float).sum(1, keepdims=True))),
    ],
)
def test_scores_are_those_of_scikit_learn(name: str, expected) -> None:  # type: ignore[no-untyped-def]
    y, proba = example()
    assert METRICS[name].function(y, proba) == pytest.approx(expected(y, proba), abs=1e-6)


def test_every_metric_is_tested() -> None:
    marks = test_scores_are_those_of_scikit_learn.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for mark in marks for case in mark.args[1]} == set(METRICS)


def test_wilson_is_the_interval_of_the_books() -> None:
    # Newcombe (Statistics in Medicine 17, 1998), table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_a_sure_error_costs_much_but_not_infinitely_much() -> None:
    y, proba = np.array([0]), np.array([[0.0, 1.0]], np.float32)
    assert 10 < METRICS["log_loss"].function(y, proba) < 20
