"""Tests of differences, against published figures and against what they promise."""

import numpy as np
import pytest

from benchmarks.difference import corrected_t_test, detectable, holm, mcnemar, practical
from benchmarks.significance import Scores, annotate
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


def test_mcnemar_counts_rows_that_one_alone_has_right() -> None:
    first, second = np.zeros(20, bool), np.zeros(20, bool)
    first[:9], second[8:10] = True, True
    # 8 against 1: the exact binomial test, two-sided.
    assert mcnemar(first, second) == pytest.approx(2 * (1 + 9) / 2**9)


def scores(means: dict[str, float], *, repeats: int = 10, folds: int = 5, noise: float = 0.02) -> Scores:
    rng = np.random.default_rng(0)
    splits = {("b", name): mean + rng.normal(0, noise, repeats * folds) for name, mean in means.items()}
    return Scores(splits, right={}, test_share=1 / (folds - 1), repeats=repeats)


def test_what_is_far_apart_is_called_different_and_what_is_not_is_tied() -> None:
    found = scores({"a": 0.60, "b": 0.598, "c": 0.45})
    rows = [{"backbone": "b", "head": name} for name in "abc"]
    annotate(rows, found, reference=("b", "b"))
    assert [row["tied_with_best"] for row in rows] == [True, True, False]
    assert [row["different"] for row in rows] == [False, False, True]
    assert [row["reference"] for row in rows] == [False, True, False]
    assert rows[1]["p_value"] is None
    assert rows[2]["p_worse"] > 0.99
    assert rows[2]["difference"] == pytest.approx(-0.148, abs=0.01)


def test_a_row_that_lacks_splits_is_not_compared() -> None:
    rows = [{"backbone": "b", "head": name} for name in ("a", "failed")]
    annotate(rows, scores({"a": 0.6, "c": 0.5}), reference=("b", "c"))
    assert rows[1]["p_value"] is None
    assert not rows[1]["tied_with_best"]


def test_one_split_is_compared_by_its_rows() -> None:
    right = {("b", "a"): np.arange(100) < 60, ("b", "c"): np.arange(100) < 20}
    found = Scores(
        {key: np.array([rows.mean()]) for key, rows in right.items()}, right=right, test_share=0.25, repeats=1
    )
    assert found.compare(("b", "a"), ("b", "c")).p_value < 1e-6
    assert found.tied_with(("b", "a")) == {("b", "a")}


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
    # Scores whose mean has the variance that the correction assumes: a part that all splits share, and one of each.
    variance, count = 0.25 / (811 / 5), 50
    hits = 0
    for _ in range(400):
        shared = rng.normal(0, np.sqrt(variance / 4))
        differences = effect + shared + rng.normal(0, np.sqrt(variance), count)
        hits += corrected_t_test(differences, np.zeros(count), test_share=0.25) < 0.05
    assert 0.72 < hits / 400 < 0.88


def simulated(rng: np.random.Generator, *, heads: int, luck: float) -> tuple[Scores, np.ndarray]:
    """Equally good heads on 811 rows, 10 × 5 folds: each row has its own difficulty, each fit its own luck.

    The less luck, the more do all repeats show the same accident of these rows, and the worse is the naive test.
    """
    n, repeats, folds, rate = 811, 10, 5, 0.6
    # Head and row: the part of being right that all fits of a head share; the rest is drawn in each repeat.
    liking = rng.normal(size=(heads, n)) * 0.6 + rng.normal(size=n)
    bar = np.quantile(liking, 1 - rate)
    splits: dict[tuple[str, str], list[float]] = {("b", str(head)): [] for head in range(heads)}
    for _ in range(repeats):
        parts = np.array_split(rng.permutation(n), folds)
        right = liking + rng.normal(size=(heads, n)) * luck > bar
        for rows in parts:
            for head in range(heads):
                splits["b", str(head)].append(float(right[head, rows].mean()))
    arrays = {key: np.array(values) for key, values in splits.items()}
    return Scores(arrays, right={}, test_share=0.25, repeats=repeats), np.array(list(arrays.values()))


def false_alarms(*, runs: int, heads: int, luck: float) -> dict[str, float]:
    """How often, under equal heads, anything is called different: by the report, and by a naive paired t-test."""
    from scipy import stats

    rng = np.random.default_rng(7)
    reference = tied = naive = pair = 0
    for _ in range(runs):
        found, matrix = simulated(rng, heads=heads, luck=luck)
        names = list(found.splits)
        reference += any(p < 0.05 for _, p in found.against(names[0]).values())
        best = names[int(matrix.mean(axis=1).argmax())]
        tied += len(found.tied_with(best)) < heads
        naive += stats.ttest_rel(matrix[0], matrix[1]).pvalue < 0.05
        pair += corrected_t_test(matrix[0], matrix[1], test_share=0.25) < 0.05
    counts = {"reference": reference, "tie group": tied, "one pair": pair, "one pair, naive": naive}
    return {name: count / runs for name, count in counts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("luck", [0.1, 0.5])
def test_equal_heads_are_rarely_called_different(luck: float) -> None:
    runs = 400
    rates = false_alarms(runs=runs, heads=6, luck=luck)
    print(f"luck {luck}: {', '.join(f'{name} {rate:.3f}' for name, rate in rates.items())}")
    allowed = 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
    assert rates["reference"] <= allowed
    assert rates["tie group"] <= allowed
    assert rates["one pair"] <= allowed
    assert rates["one pair, naive"] > 0.3, "the test that most tables are made with"


def test_equal_heads_in_short() -> None:
    rates = false_alarms(runs=25, heads=4, luck=0.5)
    assert rates["one pair, naive"] > rates["reference"]
    assert rates["tie group"] <= 0.2
