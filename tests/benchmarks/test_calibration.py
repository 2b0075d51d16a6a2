"""Calibration on predictions whose calibration is known, since their labels are drawn from a known model."""

import numpy as np
import pytest

from benchmarks.scores.calibration import BINS, calibration, reliability_curve

Repeats = list[tuple[np.ndarray, np.ndarray]]


def predictions(
    rng: np.random.Generator, n: int, *, repeats: int = 1, noise: float = 0.0, sure: float = 1.0
) -> Repeats:
    """Confidence and success for two classes, calibrated in each repeat when ``sure`` is 1 and too sure above.

    The rows of a repeat are those of the others, seen with ``noise`` of their own.
    """
    y = rng.choice([-1, 1], n)
    seen = 0.7 * y + rng.standard_normal(n)
    found = []
    for _ in range(repeats):
        logit = 1.4 * (seen + noise * rng.standard_normal(n)) / (1 + noise**2)
        found.append((1 / (1 + np.exp(-sure * np.abs(logit))), np.sign(logit) == y))
    return found


def test_the_square_is_the_mean_product_of_two_rows_of_a_bin() -> None:
    ((confidence, correct),) = predictions(np.random.default_rng(2), 300, sure=2.5)
    gap = (correct - confidence)[np.argsort(confidence)].reshape(BINS, -1)
    products = [np.outer(one, one)[~np.eye(len(one), dtype=bool)].mean() for one in gap]
    assert calibration([(confidence, correct)]).error == pytest.approx(np.mean(products) ** 0.5)


def test_a_calibrated_head_shows_no_error_and_one_that_is_too_sure_its_own() -> None:
    rng = np.random.default_rng(0)
    confidence, correct = predictions(rng, 200_000)[0]
    assert calibration([(confidence, correct)]).error < 0.004
    logit = np.log(confidence / (1 - confidence))
    shown = 1 / (1 + np.exp(-2 * logit))
    true = np.sqrt(np.mean((shown - confidence) ** 2))
    found = calibration([(shown, correct)])
    assert found.error == pytest.approx(true, abs=0.003)
    assert found.p_value < 0.001
    assert found.error > found.limit


def test_neither_the_order_of_the_rows_nor_equal_confidences_change_anything() -> None:
    rng = np.random.default_rng(1)
    ((confidence, correct),) = predictions(rng, 400)
    confidence = confidence.round(1)
    order = rng.permutation(400)
    assert calibration([(confidence, correct)]) == calibration([(confidence[order], correct[order])])
    assert len(reliability_curve(confidence, correct).count) <= len(np.unique(confidence))


@pytest.mark.parametrize("n", [1, 2, 19])
def test_few_rows_and_sure_heads_have_figures(n: int) -> None:
    right = calibration([(np.ones(n), np.ones(n, bool))])
    assert (right.error, right.limit, right.p_value) == (0.0, 0.0, 1.0)
    wrong = calibration([(np.ones(n), np.zeros(n, bool))])
    assert wrong.error == (1.0 if n > 1 else 0.0)
    assert reliability_curve(np.ones(n), np.ones(n, bool)).accuracy.tolist() == [1.0]


def test_an_interval_rests_on_rows_and_not_on_how_often_they_were_predicted() -> None:
    ((confidence, correct),) = predictions(np.random.default_rng(3), 500)
    once = reliability_curve(confidence, correct)
    ten_times = reliability_curve(np.repeat(confidence, 10), np.repeat(correct, 10), repeats=10)
    assert once.count.sum() == 500
    for name in ("confidence", "accuracy", "low", "high", "count"):
        np.testing.assert_allclose(getattr(once, name), getattr(ten_times, name))
    assert (once.low < once.accuracy).all()
    assert (once.accuracy < once.high).all()
    assert (np.diff(once.confidence) > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [1, 10])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_few_calibrated_heads_are_above_the_limit(repeats: int, noise: float) -> None:
    rng = np.random.default_rng(4)
    found = [calibration(predictions(rng, 811, repeats=repeats, noise=noise)) for _ in range(2000)]
    # Of 2000 draws a share of 5 % has a standard error of half a point.
    assert np.mean([one.p_value <= 0.05 for one in found]) < 0.067
    assert np.mean([one.error > one.limit for one in found]) < 0.067
    if repeats == 1 or not noise:
        assert np.mean([one.p_value <= 0.05 for one in found]) > 0.033


@pytest.mark.slow
def test_a_head_that_is_too_sure_is_found() -> None:
    rng = np.random.default_rng(5)
    found = [calibration(predictions(rng, 811, repeats=10, noise=0.3, sure=1.6)) for _ in range(200)]
    assert np.mean([one.p_value <= 0.05 for one in found]) > 0.9
