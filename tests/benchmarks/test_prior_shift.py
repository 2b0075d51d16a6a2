"""Probabilities reweighted to other class frequencies."""

import numpy as np

from benchmarks.scores.prior_shift import reweighted

EVEN = np.array([0.5, 0.5])


def test_it_is_bayes_rule() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=500)
    there = np.array([0.15, 0.85])

    def posterior(prior: np.ndarray) -> np.ndarray:
        likely = np.column_stack([np.exp(-(x**2) / 2), np.exp(-((x - 1.5) ** 2) / 2)]) * prior
        return np.asarray(likely / likely.sum(axis=1, keepdims=True))

    np.testing.assert_allclose(reweighted(posterior(EVEN), learned=EVEN, there=there), posterior(there))
    np.testing.assert_allclose(reweighted(posterior(there), learned=there, there=there), posterior(there))


def test_a_class_that_was_not_learned_stays_at_zero() -> None:
    proba = np.array([[0.5, 0.5, 0.0], [0.2, 0.8, 0.0]])
    found = reweighted(proba, learned=np.array([0.5, 0.5, 0.0]), there=np.array([0.2, 0.2, 0.6]))
    np.testing.assert_allclose(found, proba)


def test_a_row_of_which_nothing_is_left_stays_as_it_is() -> None:
    proba = np.array([[1.0, 0.0]])
    np.testing.assert_allclose(reweighted(proba, learned=EVEN, there=np.array([0.0, 1.0])), proba)


def test_each_row_may_have_learned_from_other_frequencies() -> None:
    proba = np.array([[0.5, 0.5], [0.5, 0.5]])
    found = reweighted(proba, learned=np.array([[0.5, 0.5], [0.8, 0.2]]), there=EVEN)
    np.testing.assert_allclose(found, [[0.5, 0.5], [0.2, 0.8]])
