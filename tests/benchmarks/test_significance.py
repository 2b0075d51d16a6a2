"""Which rows of a table differ: what the comparisons are made of, and how often they err."""

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from benchmarks.scores.difference import corrected_t_test, detectable, mcnemar
from benchmarks.scores.significance import EXACT, MODERATED, PLAIN, Scores, annotate

FOLDS = 5


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
    assert tied(found) == {("b", "a")}


def drawn(
    rng: np.random.Generator, chances: Sequence[float | np.ndarray], *, luck: float, repeats: int, n: int = 811
) -> Scores:
    """Heads with given chances of being right: each row has its own difficulty, each fit its own luck.

    The less luck, the more do all repeats show the same accident of these rows, and the worse is the naive test.
    """
    heads = len(chances)
    liking = rng.normal(size=(heads, n)) * 0.6 + rng.normal(size=n)
    bars = stats.norm.isf(np.array([np.broadcast_to(c, n) for c in chances]), scale=np.sqrt(1 + 0.6**2 + luck**2))
    right = np.array([liking + rng.normal(size=(heads, n)) * luck > bars for _ in range(repeats)])
    parts = [part for _ in range(repeats) for part in np.array_split(rng.permutation(n), FOLDS)]
    names = [("b", str(head)) for head in range(heads)]
    splits = {
        name: np.array([right[number // FOLDS, head, part].mean() for number, part in enumerate(parts)])
        for head, name in enumerate(names)
    }
    return Scores(
        splits, right={name: right[:, head] for head, name in enumerate(names)}, test_share=0.25, repeats=repeats
    )


def best_of(found: Scores) -> tuple[str, str]:
    return max(found.splits, key=lambda row: found.splits[row].mean())


def tied(found: Scores) -> set[tuple[str, str]]:
    """The rows that a table marks as not significantly different from the best, itself included."""
    best = best_of(found)
    names = [best, *(name for name in found.splits if name != best)]
    rows = [{"backbone": backbone, "head": head} for backbone, head in names]
    annotate(rows, found, reference=None)
    return {name for name, row in zip(names, rows, strict=True) if row["tied_with_best"]}


def false_alarms(*, runs: int, heads: int, luck: float, repeats: int) -> dict[str, float]:
    """How often, under equal heads, anything is called different: by the report, and by a naive paired t-test."""
    rng = np.random.default_rng(7)
    reference = group = naive = 0
    for _ in range(runs):
        found = drawn(rng, [0.6] * heads, luck=luck, repeats=repeats)
        first, second, *_ = found.splits
        reference += any(p < 0.05 for _, p in found.against(first).values())
        group += len(tied(found)) < heads
        naive += stats.ttest_rel(found.splits[first], found.splits[second]).pvalue < 0.05
    counts = {"reference": reference, "tie group": group, "one pair, naive": naive}
    return {name: count / runs for name, count in counts.items()}


@pytest.mark.slow
@pytest.mark.parametrize("luck", [0.1, 0.5])
@pytest.mark.parametrize(("heads", "repeats", "runs"), [(12, 1, 400), (36, 1, 100), (12, 10, 100), (36, 10, 40)])
def test_equal_heads_are_rarely_called_different(heads: int, repeats: int, runs: int, luck: float) -> None:
    rates = false_alarms(runs=runs, heads=heads, luck=luck, repeats=repeats)
    print(f"luck {luck}: {', '.join(f'{name} {rate:.3f}' for name, rate in rates.items())}")
    allowed = 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
    assert rates["reference"] <= allowed
    assert rates["tie group"] <= allowed
    if repeats == 10:
        assert rates["one pair, naive"] > 0.3, "the test that most tables are made with"


def test_equal_heads_in_short() -> None:
    rates = false_alarms(runs=25, heads=4, luck=0.5, repeats=10)
    assert rates["one pair, naive"] > rates["reference"]
    assert rates["tie group"] <= 0.2


def excluded(*, runs: int, heads: int) -> float:
    """How often a quick run tells the last head, 18 points below the first, from the best."""
    rng = np.random.default_rng(8)
    chances = [*np.linspace(0.62, 0.57, heads - 1), 0.44]
    tables = [drawn(rng, chances, luck=0.5, repeats=1) for _ in range(runs)]
    return float(np.mean([("b", str(heads - 1)) not in tied(found) for found in tables]))


@pytest.mark.slow
@pytest.mark.parametrize(("heads", "runs"), [(12, 200), (36, 100)])
def test_a_head_far_below_is_told_from_the_best(heads: int, runs: int) -> None:
    assert excluded(heads=heads, runs=runs) >= 0.99


def test_a_head_far_below_in_short() -> None:
    assert excluded(heads=15, runs=3) == 1.0


def over_floor(*, runs: int, heads: int, repeats: int) -> float:
    """How often the highest of heads that are as good as the most frequent class is called better than it.

    ``repeats`` 0 is one split of 163 rows.
    """
    rng = np.random.default_rng(9)
    better, n = 0, 811 if repeats else 163
    for _ in range(runs):
        named = rng.random(n) < 0.44
        found = drawn(rng, [np.where(named, 0.7, 0.2357)] * heads, luck=0.5, repeats=max(1, repeats), n=n)
        if repeats:
            # Parts of their own: which rows make a fold is no matter here.
            parts = [part.mean() for _ in range(repeats) for part in np.array_split(rng.permutation(named), FOLDS)]
            found.floor = (np.array(parts), np.tile(named, (repeats, 1)))
        else:
            one = {row: np.array([rows.mean()]) for row, rows in found.right.items()}
            right = {row: rows[0] for row, rows in found.right.items()}
            found = Scores(one, right=right, test_share=0.25, repeats=1, floor=(np.array([named.mean()]), named))
        comparison = found.over_majority(best_of(found))
        assert comparison is not None
        better += comparison.p_value < 0.05 and comparison.difference > 0
    return better / runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heads", "repeats", "runs"), [(12, 0, 400), (36, 0, 400), (12, 1, 400), (36, 1, 200), (12, 10, 100)]
)
def test_the_highest_of_many_is_rarely_better_than_the_floor_by_luck(heads: int, repeats: int, runs: int) -> None:
    assert over_floor(heads=heads, repeats=repeats, runs=runs) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)


def test_the_highest_of_many_over_the_floor_in_short() -> None:
    assert over_floor(heads=12, repeats=0, runs=40) <= 0.05


def detected(*, runs: int, repeats: int, luck: float) -> float:
    """How often the difference that `detectable` prints is found between heads that differ by it row by row."""
    rng = np.random.default_rng(10)
    one, other = drawn(rng, [0.6, 0.6], luck=luck, repeats=10).right.values()
    effect = detectable(n_rows=811, folds=FOLDS, repeats=repeats, discordance=float((one != other).mean()))
    assert effect is not None
    tables = [drawn(rng, [0.6, 0.6 - effect], luck=luck, repeats=repeats) for _ in range(runs)]
    return float(np.mean([found.compare(*found.splits).p_value < 0.05 for found in tables]))


@pytest.mark.parametrize(("repeats", "luck", "most"), [(1, 0.1, 0.9), (1, 0.5, 0.9), (10, 0.1, 0.9), (10, 0.5, 0.97)])
def test_what_power_prints_is_found_four_times_in_five(repeats: int, luck: float, most: float) -> None:
    # Ten repeats average luck away, which a prediction before the run does not count on.
    assert 0.75 < detected(runs=200, repeats=repeats, luck=luck) < most


def test_a_head_far_below_leaves_the_group_that_the_plain_test_keeps_it_in() -> None:
    found = drawn(np.random.default_rng(3), [*[0.62] * 14, 0.44], luck=0.5, repeats=1)
    low = ("b", "14")
    plain = Scores(found.splits, right={}, test_share=0.25, repeats=1)
    assert low in tied(plain)
    assert tied(found) == set(found.splits) - {low}


def by_rows(*alone: Sequence[tuple[int, int]]) -> Scores:
    """A best head and others, five folds of 162 rows: in each fold how many rows only the best, only the other had."""
    best = np.tile(np.arange(162) < 120, FOLDS)
    right = {("b", "best"): best[None]}
    for number, folds in enumerate(alone):
        other = best.reshape(FOLDS, 162).copy()
        for fold, (lost, won) in enumerate(folds):
            other[fold, :lost] = False
            other[fold, 162 - won :] = True
        right["b", str(number)] = other.reshape(1, -1)
    splits = {row: rows.reshape(FOLDS, 162).mean(axis=1) for row, rows in right.items()}
    return Scores(splits, right=right, test_share=0.25, repeats=1)


def test_no_better_head_is_outside_with_a_worse_one_inside() -> None:
    steady, worse = [(10, 6), (10, 7), (10, 7), (10, 7), (10, 6)], [(12, 11), (20, 4), (14, 9), (17, 4), (13, 10)]
    found = by_rows(steady, worse)
    best, better, other = found.splits
    assert found.splits[better].mean() > found.splits[other].mean()
    plain = Scores(found.splits, right={}, test_share=0.25, repeats=1)
    assert tied(plain) == {best, other}, "the plain test has it the wrong way round"
    assert tied(found) == set(found.splits)


def test_the_most_frequent_class_is_in_no_correction() -> None:
    rng = np.random.default_rng(4)
    found = drawn(rng, [0.62, 0.60, 0.55, 0.44], luck=0.5, repeats=1)
    rows = list(found.splits)
    alone = Scores(
        {row: found.splits[row] for row in rows[:3]}, right=found.right, test_share=found.test_share, repeats=1
    )
    copies = [(backbone, "majority") for backbone in "bcdefg"]
    many = Scores(
        alone.splits | dict.fromkeys(copies, found.splits[rows[3]]),
        right=dict(found.right) | dict.fromkeys(copies, found.right[rows[3]]),
        test_share=found.test_share,
        repeats=1,
    )
    for row, p in alone.from_best(rows[0]).items():
        assert many.from_best(rows[0])[row] == p
    for row, (comparison, p) in alone.against(rows[1]).items():
        assert many.against(rows[1])[row] == (comparison, p)
    # The best was picked from three.
    picked = 3 * many.compare(rows[0], copies[0]).p_value
    assert [many.from_best(rows[0])[row] for row in copies] == [picked] * len(copies)
    assert many.over_majority(rows[0]).p_value == picked
    assert many.against(rows[1])[copies[0]][1] == many.compare(rows[1], copies[0]).p_value, "named beforehand"


def joined(found: Scores, row: tuple[str, str], kept: slice, repeats: int) -> Scores:
    """``found``, one row of which has some splits only."""
    splits, right = np.full_like(found.splits[row], np.nan), np.full((repeats, 811), np.nan)
    splits[kept.start * FOLDS : kept.stop * FOLDS] = found.splits[row][kept.start * FOLDS : kept.stop * FOLDS]
    right[kept] = found.right[row][kept]
    return Scores(
        found.splits | {row: splits}, right=dict(found.right) | {row: right}, test_share=0.25, repeats=repeats
    )


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (2, 3), (1, 4)])
def test_rows_are_compared_over_the_splits_that_both_have(start: int, stop: int) -> None:
    found = drawn(np.random.default_rng(5), [0.62, 0.58, 0.5], luck=0.5, repeats=4)
    first, second, _ = found.splits
    few = joined(found, second, slice(start, stop), 4)
    only = Scores(
        {row: values[start * FOLDS : stop * FOLDS] for row, values in found.splits.items()},
        right={row: rows[start:stop] for row, rows in found.right.items()},
        test_share=np.full((stop - start) * FOLDS, 0.25),
        repeats=stop - start,
    )
    assert few.compare(first, second) == only.compare(first, second)
    assert few.compare(second, first).difference == pytest.approx(-only.compare(first, second).difference)
    assert few.against(first)["b", "2"][0] == found.compare(("b", "2"), first), "others keep all their splits"


def test_rows_without_a_split_in_common_are_not_compared() -> None:
    found = drawn(np.random.default_rng(6), [0.62, 0.58], luck=0.5, repeats=2)
    first, second = found.splits
    apart = joined(joined(found, first, slice(0, 1), 2), second, slice(1, 2), 2)
    assert np.isnan(apart.compare(first, second).p_value)
    rows = [{"backbone": backbone, "head": head} for backbone, head in (first, second)]
    annotate(rows, apart, reference=first)
    assert [row["tied_with_best"] for row in rows] == [True, False]
    assert (rows[1]["p_value"], rows[1]["p_holm"], rows[1]["p_best"], rows[1]["different"]) == (None, None, None, False)


def test_a_fold_that_one_row_lacks_is_left_out_of_both() -> None:
    found = drawn(np.random.default_rng(11), [0.62, 0.58], luck=0.5, repeats=2)
    first, second = found.splits
    splits = found.splits[second].copy()
    splits[3] = np.nan
    lacking = Scores(found.splits | {second: splits}, right={}, test_share=0.25, repeats=2)
    kept = np.arange(10) != 3
    expected = corrected_t_test(found.splits[first][kept], splits[kept], test_share=0.25)
    assert lacking.compare(first, second).p_value == pytest.approx(expected)
    assert 0 <= lacking.compare(first, second).p_better <= 1, "over the repeat that is whole"


def test_the_test_that_was_made_is_named() -> None:
    found = drawn(np.random.default_rng(12), [0.6, 0.5], luck=0.5, repeats=1)
    assert found.test == MODERATED
    assert Scores(found.splits, right={}, test_share=0.25, repeats=1).test == PLAIN
    one = {row: values[:1] for row, values in found.splits.items()}
    first = {row: rows[0].astype(float) for row, rows in found.right.items()}
    exact = Scores(one, right=first, test_share=0.25, repeats=1)
    assert exact.test == EXACT
    assert exact.compare(*one).p_value == mcnemar(*(rows[0] for rows in found.right.values()))
    untested = Scores(one, right={}, test_share=0.25, repeats=1)
    assert untested.test is None
    assert np.isnan(untested.compare(*one).p_value)
    assert tied(untested) == {("b", "0")}
