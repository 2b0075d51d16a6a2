"""`benchmarks.significance`: what a comparison says of its rows is said of any table of predictions."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench_store import IDS, in_this_process, vectors

from benchmarks import Comparison, compare, head, significance
from benchmarks.api.predictions import from_table
from benchmarks.plan.protocols import Protocol
from benchmarks.run import execution, runner
from featurestore.errors import InputError

Y = np.where(IDS % 3 == 0, "Comedy", "Drama")


@pytest.fixture(scope="module")
def comparison() -> Iterator[Comparison]:
    """Two matrices, copies among their rows, a head with two seeds, two repeats."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "computed", in_this_process)
        patch.setattr(runner, "computed", in_this_process)
        matrices = {name: np.concatenate([vectors(seed), vectors(seed)[:12]]) for name, seed in (("a", 1), ("b", 2))}
        y = np.concatenate([Y, Y[:12]])

        @head("tree")
        def tree(*, seed: int) -> Any:
            from sklearn.tree import DecisionTreeClassifier

            return DecisionTreeClassifier(max_depth=3, splitter="random", random_state=seed)

        protocol = Protocol("cv", folds=3, repeats=2)
        yield compare(
            matrices, y, heads=["knn", tree, "majority"], protocol=protocol, seeds=2, quick=True, progress=False
        )


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """Three rows on 400 ids: right in about 90, 89 and 50 of 100, and the most frequent class."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=400)
    good = np.where(rng.random(400) < 0.9, y, 1 - y)
    rows = {
        "chance": rng.integers(2, size=400),
        "good": good,
        "alike": np.where(rng.random(400) < 0.01, 1 - good, good),
        "majority": np.ones(400, int),
    }
    predicted = np.concatenate(list(rows.values()))
    return {"row": np.repeat(list(rows), 400), "id": np.tile(np.arange(400), 4), "y": np.tile(y, 4)} | {
        "predicted": predicted
    }


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_it_says_what_the_comparison_says(comparison: Comparison, metric: str) -> None:
    predictions = comparison.predictions()
    assert sorted(predictions["seed"].unique()) == [0, 1]
    assert predictions["group"].nunique() == 60
    prefix = "" if metric == "accuracy" else "log_loss_"
    reference = comparison.table["reference"]
    # In another order of lines, which must not matter.
    found = significance(predictions.sample(frac=1, random_state=0), metric=metric, reference=reference)
    expected = comparison.differences().assign(first=lambda frame: frame["backbone"] + "/" + frame["head"])
    expected = expected.set_index("first")
    frame = found.differences().set_index("first")
    assert set(frame["second"]) == {reference}
    assert set(frame.index) == set(expected.index)
    for own, theirs in (("difference", "difference"), ("low", "low"), ("high", "high"), ("p_value", "p_value")):
        one, other = (part.astype(float) for part in (frame[own], expected[f"{prefix}{theirs}"]))
        pd.testing.assert_series_equal(one, other[one.index], check_names=False, rtol=1e-6, atol=1e-9)
    judged = frame["verdict"].dropna()
    assert judged.to_dict() == expected[f"{prefix}verdict"].dropna().to_dict()
    assert len(judged) == 3, "the majority class is no candidate"
    rows = found.to_pandas().set_index("row")
    for row in comparison.table["rows"]:
        mine = rows.loc[f"{row['backbone']}/{row['head']}"]
        assert mine["score"] == pytest.approx(row[metric], abs=1e-6)
        assert mine["in_best_set"] == row[f"{prefix}in_best_set"]
        ranks = row[f"{prefix}rank"]
        assert (mine[["rank_low", "rank_high"]].tolist() == ranks) if ranks else mine.isna()["rank_low"]


def test_classes_alone_in_one_split(table: dict[str, Any]) -> None:
    found = significance(table)
    assert found.best_set == ("good", "alike")
    assert list(found.scores) == ["good", "alike", "majority", "chance"]
    frame = found.differences()
    assert len(frame) == 6, "all pairs"
    pair = frame[(frame["first"] == "good") & (frame["second"] == "chance")].iloc[0]
    assert pair["low"] < pair["difference"] < pair["high"]
    assert (pair["low"] > 0.2, pair["verdict"]) == (True, "better")
    floor = frame[(frame["first"] == "majority") | (frame["second"] == "majority")]
    assert floor["low"].isna().all()
    assert floor["verdict"].isna().all()
    rows = found.to_pandas().set_index("row")
    assert rows.loc["good", ["rank_low", "rank_high"]].tolist() == [1, 2]
    assert rows.loc["chance", ["rank_low", "rank_high"]].tolist() == [3, 3]
    assert rows["rank_low"].isna().tolist() == (rows.index == "majority").tolist()
    against = significance(table, reference="alike").differences()
    assert set(against["second"]) == {"alike"}
    assert len(against) == 3
    assert significance(table, reference="alike").differences("good").equals(found.differences("good"))


def test_a_smaller_training_part_widens_the_intervals(table: dict[str, Any]) -> None:
    def width(**known: Any) -> float:
        row = significance(table, **known).differences("chance").iloc[0]
        return float(row["high"] - row["low"])

    assert width() == width(test_share=0.25)
    # One split, images alone: the variance is in proportion to 1 + n_test / n_train, but for one image more.
    assert width(test_share=1.0) / width() == pytest.approx(math.sqrt(2 / 1.25), rel=0.01)
    folds = {"fold": np.tile(np.arange(400) % 2, 4)}
    found = significance({**table, **folds}).differences("chance").iloc[0]
    same = significance({**table, **folds}, test_share=1.0).differences("chance").iloc[0]
    assert found.equals(same), "of two halves each learns from as much as it is tested on"


def test_it_is_shown(table: dict[str, Any]) -> None:
    found = significance({**table, "row": [name.replace("good", "<b>good") for name in table["row"]]})
    text = repr(found)
    assert text.startswith("4 rows on 400 ids\nrow")
    assert "<b>good   0.9" in text
    assert "1 – 2  ≈" in text
    assert text.endswith("≈: the set of best rows by accuracy at 95 % confidence")
    page = found._repr_html_()
    assert "&lt;b&gt;good" in page
    assert "<b>good" not in page
    assert "<td class=n>1</td><td class=n>2</td>" in page, "ranks"
    svg = found.plot().svg
    assert "Differences from &lt;b&gt;good" in svg
    assert "chance" in svg
    assert "majority" not in svg


def test_rows_may_lack_repeats_but_not_ids() -> None:
    lines = [(row, id_, repeat) for row, repeat in (("a", 0), ("a", 1), ("b", 0)) for id_ in range(40)]
    names, ids, repeats = zip(*lines, strict=True)
    rng = np.random.default_rng(1)
    table = {"row": names, "id": ids, "repeat": repeats, "y": [one % 2 for one in ids]}
    table |= {"predicted": rng.integers(2, size=len(lines))}
    found = from_table(table)
    assert np.isnan(found.rows["b"].correct).tolist() == [[False] * 40, [True] * 40]
    frame = significance(table).differences("a")
    first = np.array(table["predicted"]) == np.array(table["y"])
    assert frame["difference"].tolist() == [pytest.approx(first[80:].mean() - first[:40].mean())]
    shorter = {name: values[:-1] for name, values in table.items()}
    with pytest.raises(InputError, match="'b' predicts the id '39' 0 times in repeat 0, expected once: each row must"):
        significance(shorter)


def test_heads_that_learned_from_less_are_left_out(table: dict[str, Any]) -> None:
    n = len(table["row"])
    twice = {name: np.concatenate([values, values]) for name, values in table.items()}
    twice["size"] = np.repeat([0.1, 1.0], n)
    twice["predicted"] = np.concatenate([1 - table["predicted"], table["predicted"]])
    assert significance(twice).scores == significance(table).scores
    with pytest.raises(InputError, match="no line of the predictions has the `size` 1"):
        significance({**table, "size": [224] * n})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"metric": "brier"}, "got 'brier' as metric, expected accuracy or log_loss"),
        ({"metric": "log_loss"}, "log_loss needs probabilities"),
        ({"reference": "best"}, "got 'best' as the reference, expected one of"),
        ({"reference": 3}, "got 3 as the reference, expected one of"),
        ({"test_share": 0}, "got 0 as test_share"),
        ({"test_share": math.nan}, "got nan as test_share"),
        ({"test_share": "20 %"}, "got '20 %' as test_share, expected a number"),
    ],
)
def test_a_fault_is_one_sentence(table: dict[str, Any], arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        significance(table, **arguments)


def test_several_labels_and_seeds_that_differ_are_refused(table: dict[str, Any]) -> None:
    n = len(table["row"])
    with pytest.raises(InputError, match="of several labels a row"):
        significance({**table, "labels": [[0, 1]] * n})
    with pytest.raises(
        InputError, match="'chance' predicts the id '0' 2 times in repeat 0, expected once: number them"
    ):
        significance({name: np.concatenate([values, values[:1]]) for name, values in table.items()})


def test_one_row_alone_is_compared_with_nothing(table: dict[str, Any]) -> None:
    found = significance({name: values[:400] for name, values in table.items()})
    assert found.best_set == ("chance",)
    assert len(found.differences()) == 0
    assert "There is no value to show" in found.plot().svg
