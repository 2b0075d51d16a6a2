"""Metrics against scikit-learn and against figures known from elsewhere."""

import numpy as np
import pytest
from sklearn import metrics as reference

from benchmarks.scores.metrics import METRICS, MULTILABEL_METRICS, confusion, per_class, wilson


def example() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    y = rng.integers(0, 4, 200)
    proba = rng.dirichlet(np.ones(4), 200) + 0.6 * np.eye(4)[y]
    return y, (proba / proba.sum(1, keepdims=True)).astype(np.float32)


def expected_calibration_error(y: np.ndarray, proba: np.ndarray) -> float:
    """Guo et al. (2017), eq. 3, bin by bin."""
    confidence, right = proba.max(1), proba.argmax(1) == y
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence >= low) & (confidence < low + 1 / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", lambda y, p: reference.accuracy_score(y, p.argmax(1))),
        ("balanced_accuracy", lambda y, p: reference.balanced_accuracy_score(y, p.argmax(1))),
        ("precision_weighted", lambda y, p: reference.precision_score(y, p.argmax(1), average="weighted")),
        ("recall_weighted", lambda y, p: reference.recall_score(y, p.argmax(1), average="weighted")),
        ("f1_weighted", lambda y, p: reference.f1_score(y, p.argmax(1), average="weighted")),
        ("f1_macro", lambda y, p: reference.f1_score(y, p.argmax(1), average="macro")),
        ("precision_macro", lambda y, p: reference.precision_score(y, p.argmax(1), average="macro")),
        ("recall_macro", lambda y, p: reference.recall_score(y, p.argmax(1), average="macro")),
        ("roc_auc_ovr", lambda y, p: np.mean([reference.roc_auc_score(y == c, p[:, c]) for c in range(4)])),
        ("brier", lambda y, p: 2 * np.mean([reference.brier_score_loss(y == c, p[:, c]) for c in range(4)]) * 2),
        ("ece", lambda y, p: expected_calibration_error(y, p)),
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


def test_a_class_without_test_rows_is_left_out() -> None:
    y, proba = example()
    y = np.where(y == 3, 2, y)
    present = [reference.roc_auc_score(y == code, proba[:, code]) for code in range(3)]
    assert METRICS["roc_auc_ovr"].function(y, proba) == pytest.approx(np.mean(present))
    expected = reference.recall_score(y, proba.argmax(1), labels=[0, 1, 2], average="macro")
    assert METRICS["balanced_accuracy"].function(y, proba) == pytest.approx(expected)


def test_per_class_figures_come_from_the_confusion_matrix() -> None:
    y, proba = example()
    counts = confusion(y, proba)
    np.testing.assert_array_equal(counts, reference.confusion_matrix(y, proba.argmax(1)))
    expected = reference.precision_recall_fscore_support(y, proba.argmax(1))
    for name, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(per_class(counts)[name], values)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("map", lambda y, p: reference.average_precision_score(y, p, average="macro")),
        ("f1_micro", lambda y, p: reference.f1_score(y, p >= 0.5, average="micro")),
        ("f1_macro", lambda y, p: reference.f1_score(y, p >= 0.5, average="macro")),
        ("top_label", lambda y, p: y[np.arange(len(y)), p.argmax(1)].mean()),
    ],
)
def test_multilabel_scores_are_those_of_scikit_learn(name: str, expected) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(5)
    y = (rng.random((300, 4)) < 0.3).astype(np.int64)
    proba = np.clip(rng.random((300, 4)) * 0.7 + 0.3 * y, 0, 1)
    assert MULTILABEL_METRICS[name].function(y, proba) == pytest.approx(expected(y, proba))
