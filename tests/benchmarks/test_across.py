"""The protocol `across`: its splits, what it leaves out, its figures, and what can't be compared."""

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_store import in_this_process, make_store
from click.testing import CliRunner
from datasets_for_bench import plain_dataset

from benchmarks.commands.cli import cli
from benchmarks.commands.options import NAMES
from benchmarks.heads.registry import find
from benchmarks.plan import across as plan
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.protocols import PROTOCOLS, Protocol, Split
from benchmarks.plan.reading import from_store
from benchmarks.report import shift
from benchmarks.report.page import TITLES
from benchmarks.report.tables import notes, tables, tables_as_text
from benchmarks.results.across import CORRECTED
from benchmarks.results.read import predictions, scores
from benchmarks.results.selection import selected
from benchmarks.run import runner
from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.errors import InputError

# The rows of the view: sixty images, twenty of each of three values.
ERA = "1900 + (ImgId - 100) // 20 * 10"


def divided(values: list[Any], *, column: str = "era", classes: int = 2, **more: Any) -> EmbeddingDataset:
    data = replace(plain_dataset(len(values), 3, classes=classes), **more)
    return replace(data, domains=plan.domains_of(values, column=column))


def splits(data: EmbeddingDataset, **more: Any) -> list[Split]:
    return list(Protocol("across", by="era", **more).splits(data))


def test_each_value_is_tested_with_all_others_all_earlier_and_each_one() -> None:
    data = divided([1990] * 30 + [1900] * 40 + [1950] * 50)
    found = splits(data)
    assert [split.kind for split in found] == [plan.OTHERS] * 3 + [plan.EARLIER] + [plan.ONE] * 15
    assert [split.fold for split in found] == list(range(19))
    eras = [range(30, 70), range(70, 120), range(30)]
    for split, era in zip(found[:3], eras, strict=True):
        assert split.test.tolist() == list(era)
        assert sorted([*split.train, *split.test]) == list(range(120))
        assert split.size == 1.0
    # Of the last value all others are all earlier ones, so that they are not learned from again.
    assert (found[3].train.tolist(), found[3].test.tolist()) == (list(eras[0]), list(eras[1]))
    for number, era in enumerate(eras):
        mine = found[4 + 5 * number : 9 + 5 * number]
        assert sorted(np.concatenate([split.test for split in mine]).tolist()) == list(range(120)), "each row once"
        for split in mine:
            assert set(split.train) == set(era) - set(split.test)
            assert split.size < 1.0
            assert len(set(split.train)) == pytest.approx(0.8 * len(era), abs=2)
    assert len({split.hash(data.ids) for split in found}) == len(found)


def test_text_has_no_earlier_and_two_values_need_no_part_twice() -> None:
    assert [s.kind for s in splits(divided(["b", "a"] * 30, classes=3))] == [plan.OTHERS] * 2 + [plan.ONE] * 10
    assert [s.kind for s in splits(divided([2, 1] * 30, classes=3))] == [plan.OTHERS] * 2 + [plan.ONE] * 10
    assert {s.kind for s in splits(divided([True, False] * 30, classes=3))} == {plan.OTHERS, plan.ONE}


def test_duplicates_are_never_on_both_sides_and_those_left_out_are_few() -> None:
    groups = np.arange(120)
    groups[[40, 41]] = groups[[0, 80]]
    data = divided([1] * 40 + [2] * 40 + [3] * 40, groups=groups)
    found = splits(data)
    assert [split.leaks(groups) for split in found] == [0] * len(found)
    others = [120 - len(split.train) - len(split.test) for split in found if split.kind == plan.OTHERS]
    assert others == [1, 2, 1]


def test_values_are_in_their_own_order_and_empty_ones_are_none() -> None:
    found = plan.domains_of([10.0, 9, None, float("nan"), 2.5], column="era")
    assert (found.names, found.codes.tolist(), found.ordered) == (("2.5", "9", "10"), [2, 1, -1, -1, 0], True)
    found = plan.domains_of(["b", " ", "a\x1b", None], column="era")
    assert (found.names, found.codes.tolist(), found.ordered) == (("a\\x1b", "b"), [1, -1, 0, -1], False)
    assert plan.domains_of([date(2000, 1, 1), date(1999, 1, 1)], column="era").codes.tolist() == [1, 0]
    with pytest.raises(InputError, match=r"'era' holds a list in a row, expected one number, date or text"):
        plan.domains_of([["a"], ["b"]], column="era")


def test_small_and_uniform_values_and_rows_without_one_are_left_out_and_said() -> None:
    values: list[Any] = [1] * 40 + [2] * 40 + [3] * 19 + [4] * 30 + [None] * 3
    y = np.arange(len(values)) % 2
    y[99:129] = 0
    y[99:103] = 1
    data = divided(values, y=y)
    protocol = Protocol("across", by="era")
    found = splits(data)
    assert np.unique(np.concatenate([s.test for s in found])).tolist() == list(range(80))
    assert np.concatenate([s.train for s in found]).max() < 80
    left_out = plan.usable(data.domains, strata=data.strata, groups=data.groups, folds=5).left_out  # type: ignore[arg-type]
    assert left_out == (
        "era 3 (19) is left out: fewer than 20 rows",
        "era 4 (30) is left out: fewer than two classes of 5 images",
        "3 rows have no era and are left out",
    )
    assert protocol.describe(data).startswith("2 values of era (1 to 2), each tested by heads that learned")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([1] * 60, r"got 1 value of the column 'era' with 20 rows and two classes of 5 images, expected 2"),
        ([None] * 60, r"got 0 values .* expected 2 or more \(60 rows have no era and are left out\): name another"),
        ([*range(30)] * 2, r"'era' has 30 different values, expected at most 20: make fewer with a view"),
        ([f"t{i}" for i in range(21)] * 20, r"'era' has 21 different values, expected at most 20"),
        ([f"t{i}" for i in range(30)] * 2, r"era t0 \(2\), t1 \(2\).* and 22 more are left out: fewer than 20 rows"),
    ],
)
def test_what_cannot_be_compared(values: list[Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        splits(divided(values))


def test_it_needs_a_column_and_folds() -> None:
    with pytest.raises(InputError, match="name it with --by"):
        list(Protocol("across").splits(plain_dataset(60, 3)))
    with pytest.raises(InputError, match="got 1 folds, expected 2 or more"):
        splits(divided([1, 2] * 30, classes=3), folds=1)


def test_every_place_knows_the_protocol() -> None:
    assert "across" in NAMES
    assert "across" in TITLES
    assert "across" in PROTOCOLS
    assert find([], protocol="across") == find([], protocol="cv")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = make_store(tmp_path_factory.mktemp("across"))
    sql = f"SELECT ImgId, Genre1, [Genre1, 'All'] AS tags, {ERA} AS era, NULL AS nothing FROM labeled"
    views.create(store.path, "own", sql, replace=True)
    store.refresh()
    run_across(store, "majority", "knn", "lda")
    return store.path


@pytest.fixture(autouse=True)
def without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("execution", "runner"):
        monkeypatch.setattr(f"benchmarks.run.{user}.computed", in_this_process)


@pytest.fixture
def store(made: Path, tmp_path: Path) -> FeatureStore:
    shutil.copytree(made, tmp_path / "store")
    return FeatureStore(tmp_path / "store")


def run_across(store: FeatureStore, *heads: str, by: str = "era", **more: Any) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.run.execution.computed", in_this_process)
        settings = {"heads": find(heads), "backbones": ["a"], "view": "own", **more}
        (report,) = runner.run(store, protocols=[Protocol("across", by=by)], **settings)
    assert report.failed == 0
    return report.run_id


def test_the_table_is_of_all_others_and_the_matrices_are_those_of_the_predictions(store: FeatureStore) -> None:
    (table,) = tables(store)
    assert {row["size"] for row in table["rows"]} == {1.0}
    assert {row["n_test"] for row in table["rows"]} == {60}
    found = table["across"]
    assert (found["by"], found["domains"], found["n_rows"]) == ("era", ["1900", "1910", "1920"], [20, 20, 20])
    assert np.sum(found["class_counts"], axis=0).tolist() == table["class_counts"]
    (run,) = selected(store)
    rows = predictions(store, run).to_pandas()
    assert len(rows) == 3 * (60 + 20 + 3 * 60)
    row = next(one for one in found["rows"] if one["head"] == "lda")
    mine = rows[rows["head"] == "lda"].assign(era=lambda known: (known["ImgId"] - 100) // 20)
    proba = np.stack(mine["proba"].to_list())
    mine = mine.assign(right=proba.argmax(1) == mine["y"], loss=-np.log(proba[np.arange(len(mine)), mine["y"]]))
    for learned in range(3):
        of_one = mine[mine["fold"].between(4 + 5 * learned, 8 + 5 * learned)].groupby("era")
        np.testing.assert_allclose(row["matrix"]["accuracy"][learned], of_one["right"].mean())
        np.testing.assert_allclose(row["matrix"]["log_loss"][learned], of_one["loss"].mean(), rtol=1e-6)
    stored = scores(store, run).to_pandas().query("head == 'lda' and metric == 'accuracy' and size == 1")["score"]
    assert [one["scores"]["accuracy"] for one in row["others"]] == pytest.approx(stored.tolist())
    assert next(r for r in table["rows"] if r["head"] == "lda")["accuracy"] == pytest.approx(stored.mean())
    assert [one["domain"] for one in row["earlier"]] == ["1910", "1920"]
    assert row["earlier"][1] == row["others"][2]
    assert (row["others"][0]["n_train"], row["others"][0]["n_test"], row["earlier"][0]["n_train"]) == (40, 20, 20)
    for one in row["others"]:
        assert sum(one["train_rates"]) == pytest.approx(1)
        assert sum(one["test_rates"]) == pytest.approx(1)


def test_the_text_says_both_sides_and_what_the_claim_is_about(store: FeatureStore) -> None:
    found = tables(store)
    text = tables_as_text(found, "terminal", width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "all others" in text
    assert "all earlier" in text
    assert "accuracy, learned from (row), tested on (column); diagonal: held out" in text
    assert "rows and class frequencies (%: Comedy / Drama)" in text
    assert "majority over" not in text
    assert any("not about other values of era" in note for note in notes(found[0]))
    assert "```\nby era: " in tables_as_text(found, "markdown")
    assert json.loads(tables_as_text(found, "json"))[0]["across"]["rows"]
    drawn = shift.figures(found[0]["across"], draw=lambda values, **about: f"{values.shape} {about['title']}")
    assert [figure["panels"] for figure in drawn] == [
        ["(5, 3) accuracy", "(5, 3) log loss", "(5, 3) log loss, corrected"]
    ] * 2


def test_a_wide_matrix_comes_in_parts_and_a_failed_fit_is_a_dash() -> None:
    names = [f"value {i}" for i in range(12)]
    scores: list[list[float | None]] = [[0.5] * 12 for _ in names]
    scores[1][2] = None
    row = {"backbone": "b", "head": "h", "others": [], "earlier": [], "failed": 1, "failure": "no"}
    found: dict[str, Any] = {"by": "era", "domains": names, "classes": list("abcde"), "n_rows": [25] * 12}
    found |= {"class_counts": [[5] * 5] * 12, "left_out": [], "rows": [{**row, "matrix": {"map": scores}}]}
    lines = "\n".join(shift.text(found, width=60)).splitlines()
    assert max(map(len, lines)) <= 60
    assert sum(line.startswith("value 1 ") and "." in line for line in lines) == 3, "five columns fit"
    assert sum("–" in line for line in lines) == 1
    assert shift.notes(found)[-1] == "h over b failed in 1 fits: no"


def test_an_equal_run_adds_nothing_and_another_column_has_a_table_of_its_own(store: FeatureStore) -> None:
    known = len(store.sql("SELECT * FROM bench_across"))
    assert run_across(store, "majority", "knn", "lda") == tables(store)[0]["run_id"]
    assert len(store.sql("SELECT * FROM bench_across")) == known
    views.create(store.path, "own", f"SELECT ImgId, Genre1, {ERA} AS era, {ERA} % 20 AS odd FROM labeled", replace=True)
    store.refresh()
    run_across(store, "majority", by="odd")
    assert [table["across"]["by"] for table in tables(store)] == ["odd", "era"]


def test_labels_that_are_lists_have_map(store: FeatureStore) -> None:
    run_across(store, "knn", label="tags")
    table = next(table for table in tables(store) if table["label"] == "tags")
    (row,) = table["across"]["rows"]
    assert set(row["matrix"]) == {"map", "f1_micro"}
    assert 0 < row["matrix"]["map"][0][1] <= 1
    assert "mAP, learned from (row)" in tables_as_text([table], "terminal")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--protocol", "across"], "got --protocol across without --by"),
        (["--by", "era"], "got --by era without --protocol across"),
        (["--protocol", "across", "--by", "absent"], "the view 'own' has no column 'absent'"),
        (["--protocol", "across", "--by", "tags"], "'tags' holds a list in a row"),
        (["--protocol", "across", "--by", "nothing"], "got 0 values of the column 'nothing'"),
        (["--protocol", "across", "--by", "Genre1"], "got 0 values of the column 'Genre1'"),
    ],
)
def test_one_sentence(store: FeatureStore, arguments: list[str], sentence: str) -> None:
    result = CliRunner().invoke(cli, ["run", "--store", str(store.path), "--view", "own", *arguments])
    assert result.exit_code != 0
    assert isinstance(result.exception, InputError)
    assert sentence in str(result.exception)


def test_the_domains_are_no_part_of_the_data(store: FeatureStore) -> None:
    plain, told = (from_store(store, "a", view="own", by=by) for by in (None, "era"))
    assert plain.data_hash == told.data_hash
    assert told.domains is not None
    assert told.only(told.ids[:5]).domains.codes.tolist() == [0] * 5  # type: ignore[union-attr]
    assert CORRECTED in tables(store)[0]["across"]["rows"][0]["matrix"]
