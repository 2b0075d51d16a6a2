"""All comparisons of a table together: what they are made of, and how often they err."""

from dataclasses import replace

import numpy as np
import pytest
from made_heads import FOLDS, drawn, error_rate
from scipy import stats

from benchmarks.scores.inference import Results, infer, ordered
from benchmarks.scores.power import detectable
from benchmarks.scores.significance import annotate, smallest_seen
from featurestore.errors import InputError

A, B, C = ("b", "00"), ("b", "01"), ("b", "02")
N = 811
SHARE = 1 / (FOLDS - 1)


def by_splits(*scores: np.ndarray, share: float = SHARE) -> Results:
    nothing = np.empty(0, np.int64)
    values = {("b", f"{number:02}"): one[None] for number, one in enumerate(scores)}
    return Results(values, nothing, nothing, share, by_split=True)


def test_one_split_and_two_rows_are_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.3, 1, 200), rng.normal(0.0, 1, 200)
    one = Results({A: first[None], B: second[None]}, np.zeros((1, 200), int), np.arange(200), 0.0)
    found = infer(one)
    expected = stats.ttest_rel(first, second)
    assert found.interval(A, B)[0] == pytest.approx((first - second).mean())
    assert found.error[0, 1] == pytest.approx((first - second).mean() / expected.statistic)
    assert found.p_value(A, B) == pytest.approx(expected.pvalue, abs=0.01)
    assert found.critical == pytest.approx(stats.t.isf(0.025, 199), abs=0.06)
    # That test parts are as large as a quarter of the training part makes intervals wider.
    assert infer(replace(one, test_share=0.25)).error[0, 1] == pytest.approx(found.error[0, 1] * np.sqrt(1.25))


def test_an_interval_is_one_with_its_p_value_its_verdict_and_its_rank() -> None:
    found = infer(drawn(np.random.default_rng(1), [0.62, 0.6, 0.5, 0.3], repeats=2))
    for first in found.rows:
        for second in found.rows:
            if first == second:
                continue
            difference, low, high = found.interval(first, second)
            assert low < difference < high
            apart = low > 0 or high < 0
            assert (found.p_value(first, second) < 0.05) == apart
            assert found.better(first, second) == (low > 0)
            assert found.interval(second, first) == pytest.approx((-difference, -high, -low))
    assert found.best == (A, B)
    assert found.ranks == {A: (1, 2), B: (1, 2), C: (3, 3), ("b", "03"): (4, 4)}


def test_verdicts() -> None:
    rng = np.random.default_rng(2)
    base = rng.normal(size=5000)
    values = {A: base, B: base + 0.004 + rng.normal(size=5000) * 0.05, C: base + 0.4 + rng.normal(size=5000)}
    values["b", "03"] = base - 0.02 + rng.normal(size=5000)
    made = Results({row: one[None] for row, one in values.items()}, np.zeros((1, 5000), int), np.arange(5000), 0.25)
    found = infer(made)
    assert [found.verdict(row, A) for row in list(values)[1:]] == ["equivalent", "better", "undecided"]
    assert found.better(B, A), "different, by less than matters"
    assert found.verdict(B, A, margin=0.001) == "better"
    lower = infer(replace(made, higher=False))
    assert [lower.verdict(row, A) for row in list(values)[1:]] == ["equivalent", "worse", "undecided"]
    assert C not in lower.best
    assert C in found.best


def test_copies_of_an_image_count_once() -> None:
    single = drawn(np.random.default_rng(3), [0.62, 0.55], repeats=1, n=300)
    place = np.repeat(np.arange(300), 3)
    tripled = Results(
        {row: one[:, place] for row, one in single.values.items()}, single.folds[:, place], place, SHARE, binary=True
    )
    assert infer(tripled).error[0, 1] == pytest.approx(infer(single).error[0, 1], rel=0.01)
    one = replace(tripled, folds=np.zeros((1, 900), int))
    alone = replace(one, groups=np.arange(900))
    assert infer(alone).error[0, 1] == pytest.approx(infer(one).error[0, 1] / np.sqrt(3), rel=0.01)


def test_fits_that_are_lucky_on_whole_test_parts_make_intervals_wider() -> None:
    rng = np.random.default_rng(4)
    stable, unstable = (infer(drawn(rng, [0.6] * 6, shift=shift, repeats=10)) for shift in (0.0, 0.3))
    pairs = np.triu_indices(6, 1)
    assert unstable.error[pairs].mean() > 2 * stable.error[pairs].mean()


def test_rows_are_compared_over_the_repeats_that_both_have() -> None:
    made = drawn(np.random.default_rng(5), [0.62, 0.58, 0.5], repeats=4)
    few = made.values[B].copy()
    few[2:] = np.nan
    found = infer(replace(made, values=made.values | {B: few}))
    only = infer(replace(made, values={row: one[:2] for row, one in made.values.items()}, folds=made.folds[:2]))
    assert found.difference[0, 1] == pytest.approx(only.difference[0, 1])
    assert found.difference[0, 2] == pytest.approx(infer(made).difference[0, 2])
    assert found.error[0, 1] > found.error[0, 2]
    other = made.values[A].copy()
    other[:2] = np.nan
    apart = infer(replace(made, values={A: other, B: few}))
    assert np.isnan(apart.p_value(A, B))
    assert apart.verdict(A, B) == "undecided"
    rows = [{"backbone": "b", "head": "00"}, {"backbone": "b", "head": "01"}]
    annotate(rows, apart, reference=A)
    assert (rows[1]["difference"], rows[1]["p_value"], rows[1]["verdict"]) == (None, None, None)


def test_splits_of_any_size_count_the_same_as_in_the_table() -> None:
    rng = np.random.default_rng(6)
    folds = np.repeat([0, 1, 2], [10, 40, 150])[None]
    values = {A: rng.random((1, 200)), B: rng.random((1, 200))}
    found = infer(Results(values, folds, np.arange(200), 0.5))
    means = {row: np.mean([one[0, folds[0] == fold].mean() for fold in range(3)]) for row, one in values.items()}
    assert found.difference[0, 1] == pytest.approx(means[A] - means[B])


def test_the_most_frequent_class_is_no_candidate() -> None:
    made = drawn(np.random.default_rng(7), [0.62, 0.60, 0.55, 0.44])
    floor = list(made.values)[3]
    values = {row: one for row, one in made.values.items() if row != floor}
    alone = infer(replace(made, values=values))
    floors = {(backbone, "majority"): made.values[floor] for backbone in "bcdefg"}
    many = infer(replace(made, values=values | floors), left_out=list(floors))
    assert (many.critical, many.ranks) == (alone.critical, alone.ranks)
    assert [many.p_value(A, row) for row in (B, C)] == [alone.p_value(A, row) for row in (B, C)]
    assert many.better(A, ("b", "majority"))
    one = infer(replace(made, values={A: made.values[A]} | floors), left_out=list(floors))
    assert one.critical == pytest.approx(1.96, abs=0.06), "a single candidate is tested once"


def test_equal_rows_are_equal() -> None:
    made = drawn(np.random.default_rng(8), [0.6, 0.5])
    same = infer(replace(made, values={A: made.values[A], B: made.values[A], C: made.values[A].copy()}))
    assert same.best == (A, B, C)
    assert same.p_value(A, B) == 1.0
    assert same.verdict(A, B) == "equivalent"


def test_a_handful_of_images_is_never_certain() -> None:
    first = np.zeros(60)
    second = first.copy()
    second[:2] = 1
    found = infer(Results({A: first[None], B: second[None]}, np.zeros((1, 60), int), np.arange(60), 0.25, binary=True))
    assert not found.better(B, A)


def test_scores_that_are_no_means_over_images_are_compared_by_split() -> None:
    # Scikit-learn's example "Statistical comparison of models using grid search" publishes one-sided 0.227.
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    scores = [
        cross_val_score(SVC(random_state=0, kernel=kernel), X, y, cv=folds, scoring="roc_auc")
        for kernel in ("rbf", "linear")
    ]
    found = infer(by_splits(*scores, share=1 / 9))
    statistic = found.difference[0, 1] / found.error[0, 1]
    assert stats.t.sf(statistic, 99) == pytest.approx(0.227, abs=5e-4)
    assert found.p_value(A, B) == pytest.approx(0.454, abs=0.02)
    one = infer(by_splits(np.array([0.6]), np.array([0.4])))
    assert np.isnan(one.critical)
    assert one.verdict(A, B) == "undecided"
    assert np.isnan(one.p_value(A, B))
    assert (one.ranks, one.best) == ({}, ())


def test_means_that_differ_by_rounding_go_by_name() -> None:
    means = {A: 0.5, B: 0.5 + 1e-12, C: 0.7}
    assert ordered([C, B, A], means, higher=True) == [C, A, B]
    assert ordered([C, B, A], means, higher=False) == [A, B, C]


def test_what_could_have_been_seen() -> None:
    found = infer(drawn(np.random.default_rng(9), [0.6, 0.6, 0.6]))
    error = np.median(found.error[0, 1:])
    assert smallest_seen(found, A) == pytest.approx((found.critical + stats.norm.ppf(0.8)) * error)
    assert smallest_seen(found, None) is None
    assert smallest_seen(infer(by_splits(np.array([0.6]), np.array([0.4]))), A) is None


def test_equal_heads_in_short() -> None:
    assert error_rate(runs=40, heads=6, repeats=1) <= 0.1
    assert error_rate(runs=20, heads=6, repeats=2, shift=0.2) <= 0.1


UNSTABLE, MIXED, ONE = 0.15, np.repeat([0.2, 0.0], [4, 8]), np.repeat([0.2, 0.0], [1, 11])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heads", "repeats", "runs", "shift"),
    [
        (12, 1, 400, 0.0),
        (36, 1, 100, 0.0),
        (12, 10, 100, 0.0),
        (36, 10, 40, 0.0),
        (2, 1, 600, UNSTABLE),
        (12, 1, 400, UNSTABLE),
        (36, 1, 100, UNSTABLE),
        (12, 10, 100, UNSTABLE),
        (36, 10, 40, UNSTABLE),
        (12, 1, 400, MIXED),
        (12, 10, 100, MIXED),
        (12, 1, 400, ONE),
        (12, 10, 100, ONE),
    ],
)
def test_equal_heads_are_rarely_called_different(heads: int, repeats: int, runs: int, shift: float) -> None:
    rate = error_rate(runs=runs, heads=heads, repeats=repeats, shift=shift)
    print(f"{heads} heads, {FOLDS} × {repeats}, shift {np.unique(shift)}: {rate:.3f} of {runs}")
    assert rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def excluded(*, runs: int, heads: int) -> float:
    """How often a quick run tells the last head, 18 points below the first, from the best."""
    rng = np.random.default_rng(8)
    chances = [*np.linspace(0.62, 0.57, heads - 1), 0.44]
    tables = [infer(drawn(rng, chances)) for _ in range(runs)]
    return float(np.mean([("b", f"{heads - 1:02}") not in found.best for found in tables]))


@pytest.mark.slow
@pytest.mark.parametrize(("heads", "runs"), [(12, 300), (36, 100)])
def test_a_head_far_below_is_told_from_the_best(heads: int, runs: int) -> None:
    assert excluded(heads=heads, runs=runs) >= 0.99


def test_a_head_far_below_in_short() -> None:
    assert excluded(heads=15, runs=3) == 1.0


def over_floor(*, runs: int, heads: int, repeats: int, n: int) -> float:
    """How often the highest of heads that are as good as the most frequent class is called better than it."""
    rng = np.random.default_rng(9)
    floor, better = ("", "majority"), 0
    for _ in range(runs):
        named = rng.random(n) < 0.44
        made = drawn(rng, [np.where(named, 0.7, 0.2357)] * heads, repeats=repeats, n=n)
        if n < N:  # one split, of which the test part alone is known
            made = replace(made, folds=np.zeros_like(made.folds))
        values = made.values | {floor: np.tile(named.astype(float), (repeats, 1))}
        found = infer(replace(made, values=values), left_out=[floor])
        best = max(found.family, key=lambda row: made.values[row].mean())
        better += found.better(best, floor)
    return better / runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heads", "repeats", "n", "runs"), [(12, 1, 163, 400), (36, 1, 163, 200), (12, 1, N, 300), (12, 10, N, 100)]
)
def test_the_highest_of_many_is_rarely_better_than_the_floor_by_luck(
    heads: int, repeats: int, n: int, runs: int
) -> None:
    rate = over_floor(heads=heads, repeats=repeats, n=n, runs=runs)
    assert rate <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_the_highest_of_many_over_the_floor_in_short() -> None:
    assert over_floor(heads=12, repeats=1, n=163, runs=20) <= 0.1


def detected(*, runs: int, candidates: int, repeats: int, discordance: float) -> float:
    """How often the difference that `detectable` prints is seen between heads that disagree on so many images."""
    rng = np.random.default_rng(10)
    effect = detectable(n_rows=N, folds=FOLDS, repeats=repeats, discordance=discordance, candidates=candidates)
    assert effect is not None
    seen = 0
    for _ in range(runs):
        base = rng.random(N) < 0.6
        values = {("b", "00"): base}
        for head in range(1, candidates):
            gain = effect if head == 1 else 0.0
            lost, won = (discordance - gain) / 2 / 0.6, (discordance + gain) / 2 / 0.4
            chance = rng.random(N)
            values["b", f"{head:02}"] = np.where(base, chance >= lost, chance < won)
        folds = np.stack([rng.permutation(N) % FOLDS for _ in range(repeats)])
        rows = {row: np.tile(one.astype(float), (repeats, 1)) for row, one in values.items()}
        seen += infer(Results(rows, folds, np.arange(N), SHARE, binary=True)).better(B, A)
    return seen / runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("candidates", "repeats", "discordance"),
    [(12, 1, 0.12), (12, 10, 0.12), (36, 1, 0.12), (36, 10, 0.2), (12, 1, 0.25)],
)
def test_what_power_prints_is_seen_four_times_in_five(candidates: int, repeats: int, discordance: float) -> None:
    runs = 300
    rate = detected(runs=runs, candidates=candidates, repeats=repeats, discordance=discordance)
    print(f"{candidates} rows, {FOLDS} × {repeats}, discordance {discordance}: {rate:.3f}")
    slack = 2 * np.sqrt(0.8 * 0.2 / runs)
    assert 0.75 - slack < rate < 0.85 + slack


def test_what_power_prints_is_seen_in_short() -> None:
    assert 0.6 < detected(runs=40, candidates=3, repeats=1, discordance=0.12) <= 1.0


def test_power_grows_with_rows_and_falls_with_candidates() -> None:
    def smallest(**changed: float) -> float:
        found = detectable(**{"n_rows": N, "folds": 5, "repeats": 10, "discordance": 0.12} | changed)  # type: ignore[arg-type]
        assert found is not None
        return found

    assert smallest(n_rows=4 * N) == pytest.approx(smallest() / 2, rel=0.02)
    assert smallest(candidates=36) > smallest(candidates=12) > smallest()
    assert smallest(repeats=1) > smallest()
    assert smallest(discordance=0.25) > smallest()
    assert detectable(n_rows=50, folds=5, repeats=0, discordance=0.05) is None, "more than they disagree"


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_a_discordance_is_a_share(share: float) -> None:
    with pytest.raises(InputError, match="expected a share above 0"):
        detectable(n_rows=100, folds=5, repeats=1, discordance=share)
