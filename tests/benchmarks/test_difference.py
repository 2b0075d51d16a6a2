"""Tests of one difference, against published figures and against what they promise."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.scores.difference import PRIOR_WEIGHT, corrected_t_test, detectable, holm, mcnemar, practical
from featurestore.errors import InputError


@pytest.fixture(scope="module")
def moons() -> tuple[np.ndarray, np.ndarray]:
    """The scores of scikit-learn's example "Statistical comparison of models using grid search": RBF and linear."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(random_state=0, kernel=kernel), X, y, cv=folds, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    )
    return rbf, linear


def test_the_corrected_test_gives_the_published_p_value(moons: tuple[np.ndarray, np.ndarray]) -> None:
    # Published one-sided: corrected 0.227.
    assert corrected_t_test(*moons, test_share=1 / 9) / 2 == pytest.approx(0.227, abs=5e-4)
    # Without the correction, by the same published example: 0.005.
    assert corrected_t_test(*moons, test_share=0.0) / 2 == pytest.approx(0.005, abs=5e-4)


def test_the_bayesian_test_gives_the_published_probabilities(moons: tuple[np.ndarray, np.ndarray]) -> None:
    better, equal, worse = practical(*moons, repeats=10, rope=0.01)
    assert (better, equal, worse) == pytest.approx((0.500, 0.432, 0.068), abs=5e-4)
    assert practical(moons[1], moons[0], repeats=10) == pytest.approx((worse, equal, better))


def test_equal_scores_are_equal() -> None:
    scores = np.linspace(0.5, 0.6, 10)
    assert corrected_t_test(scores, scores, test_share=0.25) == 1.0
    assert practical(scores, scores, repeats=2) == (0.0, 1.0, 0.0)


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


def test_a_comparison_that_was_not_made_does_not_count() -> None:
    adjusted = holm([0.04, float("nan"), 0.01])
    assert adjusted[::2] == pytest.approx([0.04, 0.02])
    assert np.isnan(adjusted[1])
    assert np.isnan(holm([float("nan")])).all()


def test_mcnemar_counts_rows_that_one_alone_has_right() -> None:
    first, second = np.zeros(20, bool), np.zeros(20, bool)
    first[:9], second[8:10] = True, True
    # 8 against 1: the exact binomial test, two-sided.
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 9) / 2**9)


def test_more_splits_detect_less_and_one_split_of_163_rows_hardly_anything() -> None:
    study = detectable(n_rows=811, folds=5, repeats=0, discordance=0.25)
    once = detectable(n_rows=811, folds=5, repeats=1, discordance=0.25)
    often = detectable(n_rows=811, folds=5, repeats=10, discordance=0.25)
    assert often < once < study
    assert study == pytest.approx(2.82 * np.sqrt(0.25 / 162.2), rel=0.02)


def test_heads_cannot_differ_by_more_than_they_disagree() -> None:
    few = {"n_rows": 60, "discordance": 0.25, "comparisons": 11}
    assert detectable(folds=5, repeats=0, **few) is None
    assert detectable(folds=5, repeats=10, n_rows=400, discordance=0.25, comparisons=11) < 0.25


@pytest.mark.parametrize("discordance", [0.0, 1.5, float("nan")])
def test_a_discordance_that_is_no_share(discordance: float) -> None:
    with pytest.raises(InputError, match="expected a share above 0"):
        detectable(n_rows=811, folds=5, repeats=10, discordance=discordance)


def test_what_is_detectable_is_detected_four_times_in_five() -> None:
    effect = detectable(n_rows=811, folds=5, repeats=10, discordance=0.25)
    rng = np.random.default_rng(1)
    # Scores whose mean has the variance that the correction allows for: a part that all splits share, and one of each.
    variance, count = 0.25 / (811 / 5), 50
    hits = 0
    for _ in range(400):
        shared = rng.normal(0, np.sqrt(variance / 4))
        differences = effect + shared + rng.normal(0, np.sqrt(variance), count)
        hits += corrected_t_test(differences, np.zeros(count), test_share=0.25, expected=variance) < 0.05
    assert 0.72 < hits / 400 < 0.88


@pytest.mark.parametrize("count", [2, 5, 50])
def test_the_moderated_variance_is_that_of_its_formula(count: int) -> None:
    first, second = np.random.default_rng(count).normal(0.6, 0.03, (2, count))
    d, n_test = 0.1, 162
    freedom = count - 1
    variance = (freedom * (first - second).var(ddof=1) + 50 * d / n_test) / (freedom + 50)
    t = (first - second).mean() / np.sqrt((1 / count + 0.25) * variance)
    p = corrected_t_test(first, second, test_share=0.25, expected=d / n_test)
    assert p == pytest.approx(2 * stats.t.sf(abs(t), freedom + PRIOR_WEIGHT))


def test_one_split_is_tested_by_its_rows_or_not_at_all() -> None:
    one, other = np.array([0.7]), np.array([0.5])
    assert np.isnan(corrected_t_test(one, other, test_share=0.25))
    assert corrected_t_test(one, other, test_share=0.25, expected=0.25 / 162) < 0.001


def test_folds_that_agree_by_chance_decide_nothing() -> None:
    """Five differences of nearly one size, as happens once in some hundred pairs, between heads that often disagree."""
    close = np.array([0.0247, 0.0184, 0.0185, 0.0185, 0.0247])
    assert corrected_t_test(close, np.zeros(5), test_share=0.25) < 0.001
    assert corrected_t_test(close, np.zeros(5), test_share=0.25, expected=0.102 / 162) > 0.05
