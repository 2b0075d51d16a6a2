"""The protocol `given`: the split of a column, its statistics, and what can't be a split."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_store import IDS, in_this_process, make_store
from datasets_for_bench import plain_dataset

from benchmarks.commands.cli import cli
from benchmarks.commands.options import NAMES
from benchmarks.heads.registry import find
from benchmarks.plan.cells import Cell
from benchmarks.plan.checks import warnings_of
from benchmarks.plan.given import sides
from benchmarks.plan.protocols import ONE_SPLIT, PROTOCOLS, Protocol
from benchmarks.plan.reading import default_label, from_store
from benchmarks.report.listing import listed
from benchmarks.report.page import TITLES
from benchmarks.report.tables import notes, tables
from benchmarks.results.canary import canary_results
from benchmarks.results.selection import find as find_run
from benchmarks.run import runner
from benchmarks.run.fit import fit
from benchmarks.scores.metrics import wilson
from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.commands.options import run_command
from featurestore.errors import InputError

# Of the sixty images 100 to 159: a validation row in six, a test row in three.
SPLIT = "CASE WHEN ImgId % 6 = 0 THEN 'Val' WHEN ImgId % 3 = 1 THEN 'TEST' ELSE 'train' END"
TESTED = int((IDS % 3 == 1).sum())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return divided(make_store(tmp_path_factory.mktemp("given")), SPLIT).path


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    for user in ("execution", "fit"):
        monkeypatch.setattr(f"benchmarks.run.{user}.computed", in_this_process)
    shutil.copytree(made, tmp_path / "store")
    return FeatureStore(tmp_path / "store")


def divided(store: FeatureStore, split: str, *, label: str = "Genre1") -> FeatureStore:
    """The view ``own`` with a column ``split`` and the label ``Genre1``."""
    sql = f"SELECT ImgId, {label} AS Genre1, {split} AS split FROM labeled"
    views.create(store.path, "own", sql, replace=True)
    store.refresh()
    return store


def run_given(store: FeatureStore, *heads: str, **more: object) -> str:
    plan = {"heads": find(heads or ["majority", "knn", "lda"]), "backbones": ["a"], "view": "own"}
    (report,) = runner.run(store, protocols=[Protocol("given")], **{**plan, **more})
    assert report.failed == 0
    return report.run_id


@pytest.mark.parametrize(
    ("values", "train", "test", "unused", "text"),
    [
        (["train", "test", "train"], [0, 2], [1], [], "2 training rows, 1 test rows"),
        ([" Training", "VALID", "testing"], [0], [2], [1], "1 test rows; 1 validation rows in neither"),
        (["TRAIN", "dev", "Validation", "val"], [0], [1, 2, 3], [], "3 validation rows as test rows"),
    ],
)
def test_the_words_name_the_sides(
    values: list[str], train: list[int], test: list[int], unused: list[int], text: str
) -> None:
    found = sides(values, column="split")
    assert [part.tolist() for part in (found.train, found.test, found.unused)] == [train, test, unused]
    assert text in found.describe("split")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            ["train"] * 3 + ["test"] * 2 + ["a\x1bb", ""],
            r"'train' \(3\), 'test' \(2\), 'a\\x1bb' \(1\), no value \(1\);",
        ),
        ([str(n) for n in range(20)], "12 more values; expected one of train, training, test"),
        (["x" * 500, "train"], r"'x{40}' \(1\)"),
        (["train", "train"], r"names no test or validation row \(it holds 'train' \(2\)\)"),
        (["test", "val"], "names no training row"),
        ([], "names no training row"),
    ],
)
def test_what_is_no_split(values: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        sides(values, column="split")


def test_names_are_the_same_everywhere() -> None:
    assert set(NAMES) == set(PROTOCOLS) == set(TITLES)
    assert set(PROTOCOLS) > ONE_SPLIT


def test_the_column_is_no_part_of_the_data(store: FeatureStore) -> None:
    """A result of any other protocol has the same key with and without it, and of this one by the rows' sides alone."""
    without, with_it = (from_store(store, "a", view="own", split=split) for split in (None, "split"))
    assert (without.split, len(with_it.split or ())) == (None, 60)
    assert without.data_hash == with_it.data_hash
    assert without.labels_hash == with_it.labels_hash
    (head,) = find(["knn"])
    keys = [[Cell(head, data, s, 0).key for s in Protocol("cv").splits(data)] for data in (without, with_it)]
    assert keys[0] == keys[1]
    few = with_it.only(with_it.ids[::7])
    assert few.split == with_it.split[::7]

    def key(*values: str) -> str:
        data = replace(with_it, split=values)
        (split,) = Protocol("given").splits(data)
        return Cell(head, data, split, 0).key

    own = with_it.split or ()
    assert key(*own) == key(*(value.replace("train", "Training") for value in own))
    assert key(*own) != key("train", *own[1:])


def test_rows_without_a_label_have_no_side(store: FeatureStore) -> None:
    side = "CASE WHEN ImgId < 110 THEN NULL WHEN ImgId < 130 THEN 'test' ELSE 'train' END"
    divided(store, side, label="CASE WHEN ImgId >= 105 THEN Genre1 END")
    with pytest.raises(InputError, match=r"no value \(5\)"):
        run_given(store, "knn")
    divided(store, side, label="CASE WHEN ImgId >= 110 THEN Genre1 END")
    run_given(store, "knn")
    (table,) = tables(store)
    assert (table["n_rows"], table["n_unlabelled"]) == (50, 10)


def test_it_has_the_statistics_of_one_split(store: FeatureStore) -> None:
    run_id = run_given(store)
    (table,) = tables(store)
    assert table["n_rows"] == sum(table["class_counts"]) == 50, "validation rows are in neither part"
    assert "30 training rows, 20 test rows; 10 validation rows in neither" in table["protocol_text"]
    first = table["rows"][0]
    assert (first["cells"], first["n_test"]) == (1, TESTED)
    assert first["interval"] == pytest.approx(wilson(first["accuracy"] * TESTED, TESTED))
    tested = {row["head"]: row["p_value"] is not None for row in table["rows"]}
    assert tested == {"lda": True, "knn": False, "majority": False}, "the reference and the floor are not"
    assert any("the set of best rows by accuracy" in note for note in notes(table))
    (line,) = listed(store)
    assert (line["quick"], line["done"]) == (False, 3)
    assert run_given(store) == run_id, "nothing is computed again"
    _, card = fit(store, find(["knn"])[0], "a", view="own")
    assert [(one["protocol"], card["label"]) for one in card["scores"]] == [("given", "Genre1")]


def test_more_repeats_are_still_one_split(store: FeatureStore) -> None:
    plan = {"heads": find(["majority", "knn"]), "backbones": ["a"], "view": "own"}
    (report,) = runner.run(store, protocols=[Protocol("given", repeats=3)], **plan)
    assert report.cells == 2
    over = {row["head"]: row["p_majority"] is not None for row in tables(store)[0]["rows"]}
    assert over == {"knn": True, "majority": False}


def test_other_sides_are_another_table(store: FeatureStore) -> None:
    first = run_given(store)
    divided(store, SPLIT.replace("% 3 = 1", "% 3 = 2"))
    second = run_given(store)
    assert second != first
    (table,) = tables(store)
    assert (table["run_id"], table["runs"]) == (second, [second])
    assert tables(store, run_id=first)[0]["runs"] == [first]


def test_duplicates_on_both_sides_are_counted_and_said() -> None:
    data = plain_dataset(60, 4)
    groups = data.groups.copy()
    groups[30:34] = groups[:4]
    data = replace(data, groups=groups, split=("train",) * 30 + ("test",) * 30)
    (split,) = splits = list(Protocol("given").splits(data))
    assert split.leaks(groups) == 4
    assert any(sign.startswith("4 test rows have a duplicate") for sign in warnings_of([data], splits))


@pytest.mark.parametrize("several", [False, True])
def test_a_class_without_a_training_row(several: bool) -> None:
    data = plain_dataset(60, 4)
    side = np.where((data.y == 2) | (np.arange(60) % 4 == 0), "test", "train")
    data = replace(data, y=np.eye(3, dtype=np.int64)[data.y] if several else data.y, split=tuple(side.tolist()))
    with pytest.raises(InputError, match="no training row of the column 'split' has the Genre1 'c2'"):
        list(Protocol("given").splits(data))


def test_several_labels_on_a_given_split(store: FeatureStore) -> None:
    divided(store, SPLIT, label="[Genre1] || CASE WHEN ImgId % 2 = 0 THEN ['Even'] ELSE [] END")
    run_id = run_given(store, "knn", "lda")
    assert find_run(store, run_id)["class_counts"] == [10, 40, 20]
    assert "differences are not tested: one split, and mAP is no mean over images" in " ".join(notes(tables(store)[0]))


def test_shuffled_labels_on_a_given_split(store: FeatureStore) -> None:
    run_id = run_given(store, canary=True)
    found = {row.head: row for row in canary_results(store, run_id)}
    assert (found.keys(), any(row.leaks for row in found.values())) == ({"majority", "knn", "lda"}, False)
    assert all(row.chance == pytest.approx(0.6, abs=0.1) for row in found.values())
    assert found["majority"].chance == pytest.approx(found["majority"].score), "whatever the order of the labels"


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command of the bench: exit code, output, errors."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["benchmarks", *map(str, words)])
        return (run_command(cli, "benchmarks"), *capsys.readouterr())

    return run


def test_the_command(store: FeatureStore, command: Command) -> None:
    views.create(store.path, "other", f"SELECT ImgId, Genre1, {SPLIT} AS part FROM labeled")
    words = ("run", "--store", store.path, "--view", "other", "--head", "knn", "--backbone", "a", "--quick")
    code, _, err = command(*words, "--protocol", "given")
    assert code != 0
    assert "has no column 'split' (it has: " in err
    assert "--split" in err
    code, _, err = command(*words, "--split", "part")
    assert code != 0
    assert "got --split part without --protocol given" in err
    code, out, _ = command(*words, "--protocol", "given", "--protocol", "cv", "--split", "part", "--json")
    assert code == 0
    found = {table["protocol"]: table for table in json.loads(out)["tables"]}
    assert found["given"]["n_rows"] == 50
    assert found["cv"]["n_rows"] == 60
    assert "The given split" in (store.path / "report.html").read_text("utf-8")
    code, out, _ = command("power", "--store", store.path, "--view", "other", "--split", "part", "--json")
    assert code == 0
    assert list(json.loads(out)["detectable"]) == ["study", "cv 5 × 1", "cv 5 × 10", "given"]


def test_two_columns_are_refused(store: FeatureStore) -> None:
    both = [Protocol("given"), Protocol("given", column="part")]
    with pytest.raises(InputError, match=r"got 2 split columns \(split, part\)"):
        runner.run(store, heads=find(["knn"]), protocols=both, view="own")


def test_the_label_is_that_of_the_collection(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_label(store) == "Genre1"
    assert from_store(store, "a").label == "Genre1"
    monkeypatch.setattr(FeatureStore, "label", "Genre3")
    with pytest.raises(InputError, match="the collection has no label: name one with --label"):
        from_store(store, "a")


def test_a_view_without_rows_says_so(store: FeatureStore) -> None:
    views.create(store.path, "none", "SELECT ImgId, Genre1 FROM labeled WHERE ImgId < 0")
    store.refresh()
    with pytest.raises(InputError, match="the view 'none' has no row: name another --view"):
        from_store(store, "a", view="none")
