"""What `runs diff` says of two runs: images, labels, backbones, settings, scores and their differences."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_store import add_backbone, in_this_process, make_store
from numpy.typing import NDArray
from scipy import stats

from benchmarks.commands.cli import cli
from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.report.run_diff import lines
from benchmarks.results.diff import Changed, run_difference
from benchmarks.results.paired import ONLY_A, ONLY_B, SAME, UNTESTED, A, B, Pair, RowDifference, _corrected
from benchmarks.results.read import comparison, runs
from benchmarks.run import runner
from benchmarks.scores.inference import Results, infer
from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.commands.options import run_command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("diff")).path


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    shutil.copytree(made, tmp_path / "store")
    return FeatureStore(tmp_path / "store")


def run(store: FeatureStore, *heads: str, protocol: str = "cv", repeats: int = 1, **more: object) -> str:
    plan = Protocol(protocol, folds=3, repeats=repeats, seed=0)
    options = {"backbones": ["a"], **more}
    (report,) = runner.run(store, heads=find(heads), protocols=[plan], **options)  # type: ignore[arg-type]
    store.refresh()
    return report.run_id


def by_head(rows: list[RowDifference]) -> dict[str, RowDifference]:
    return {row.head: row for row in rows}


def test_a_shorter_run_of_the_same_folds_has_the_same_results(store: FeatureStore) -> None:
    long, quick = run(store, "knn", "ridge", repeats=2), run(store, "knn", "lda")
    found = run_difference(store, long, quick)
    assert found.images.same
    assert (found.cells, found.same_cells) == ((12, 6), 3)
    assert Changed("repeats", 2, 1) in found.settings
    assert [one.what for one in found.settings] == ["repeats", "head lda", "head ridge"]
    rows = by_head(found.rows)
    assert (rows["ridge"].verdict, rows["lda"].verdict) == (ONLY_A, ONLY_B)
    assert (rows["ridge"].b, rows["lda"].a, rows["ridge"].difference) == (None, None, None)
    assert (rows["knn"].verdict, rows["knn"].splits, rows["knn"].images) == (SAME, 3, 60)
    assert (rows["knn"].difference, rows["knn"].p_value) == (0.0, None)
    means = {row["head"]: row["accuracy"] for row in comparison(store, runs(store)[1])}
    assert rows["knn"].a == means["knn"], "over all splits of A, as its table has it"


def test_another_revision_is_compared_row_by_row(store: FeatureStore) -> None:
    before = run(store, "knn", "majority")
    add_backbone(store, "a", 5)
    after = run(store, "knn", "majority")
    found = run_difference(store, before, after)
    assert [one.what for one in found.backbones] == ["a"]
    assert found.same_cells == 0
    row = by_head(found.rows)["knn"]
    assert (row.splits, row.images) == (3, 60)
    right = store.sql(
        "SELECT run_id, repeat, fold, ImgId, list_position(proba, list_max(proba)) - 1 = y AS correct "
        "FROM bench_predictions JOIN bench_cells USING (cell) WHERE head = 'knn' ORDER BY run_id, repeat, fold, ImgId"
    ).to_pandas()
    a, b = (right[right["run_id"] == name].reset_index(drop=True) for name in (before, after))
    values = {which: one["correct"].to_numpy(float)[None] for which, one in (("a", a), ("b", b))}
    assert row.difference == pytest.approx((values["b"] - values["a"]).mean())
    results = made_results(values, folds=a["fold"].to_numpy(np.int64)[None])
    assert row.p_value == infer(results).p_value(B, A)
    assert row.p_holm == row.p_value, "majority is in no family"


def made_results(values: dict[str, NDArray[np.float64]], *, folds: NDArray[np.int64]) -> Results:
    """What both runs have on every image, no image a copy of another."""
    rows = {(which, ""): one for which, one in values.items()}
    return Results(rows, folds, np.arange(folds.shape[1]), test_share=0.5, binary=True)


def test_one_split_is_tested_by_its_images(store: FeatureStore) -> None:
    before = run(store, "knn", protocol="study")
    add_backbone(store, "a", 5)
    (row,) = run_difference(store, before, run(store, "knn", protocol="study")).rows
    assert (row.splits, row.images) == (1, 12)
    assert 0 < (row.p_value or 0) <= 1
    n = 200
    right = {"a": np.arange(n) % 2 == 0, "b": np.arange(n) % 4 < 3}
    values = {which: one[None].astype(float) for which, one in right.items()}
    pair = Pair(np.array([0.5]), np.array([0.75]), made_results(values, folds=np.zeros((1, n), np.int64)), images=n)
    assert pair.difference == 0.25
    # As for one comparison: the variance of the mean, half as much again for the training part, and one image more.
    variance = 1.5 * (values["b"] - values["a"]).var(ddof=1) / n + 1 / n**2
    apart = np.sqrt(variance)
    assert pair.results is not None
    assert infer(pair.results).error[0, 1] == pytest.approx(apart)
    assert pair.p_value == pytest.approx(2 * stats.t.sf(0.25 / apart, n - 1), abs=1e-3)
    assert np.isnan(replace(pair, results=None).p_value)


def test_the_family_is_every_row_that_is_tested() -> None:
    made = [
        RowDifference("a", head, 1.0, 0.5, 0.6, UNTESTED, sign * 0.1, p_value=p)
        for head, sign, p in [("one", 1, 0.01), ("two", -1, 0.02), ("three", 1, 0.2), ("majority", 1, 0.04)]
    ]
    found = by_head(_corrected([*made, RowDifference("a", "four", 1.0, 0.5, None, ONLY_A)]))
    assert {head: row.p_holm for head, row in found.items()} == {
        "one": pytest.approx(0.03),
        "two": pytest.approx(0.04),
        "three": pytest.approx(0.2),
        "majority": 0.04,
        "four": None,
    }
    assert [row.verdict for row in found.values()] == ["higher", "lower", "not significant", "higher", ONLY_A]


def other_rows(store: FeatureStore) -> str:
    sql = "SELECT ImgId, CASE ImgId WHEN 103 THEN 'Comedy' WHEN 102 THEN 'Drama' ELSE Genre1 END AS Genre1 FROM labeled"
    views.create(store.path, "changed", f"{sql} WHERE ImgId < 158")
    store.refresh()
    return run(store, "knn", view="changed")


def other_seed(store: FeatureStore) -> str:
    (report,) = runner.run(store, heads=find(["knn"]), protocols=[Protocol("cv", folds=3, seed=1)], backbones=["a"])
    return report.run_id


@pytest.mark.parametrize(
    ("change", "sentence"),
    [(other_rows, "60 in A, 58 in B; 2 only in A, 2 with another label"), (other_seed, "60 in both, with the same")],
)
def test_other_folds_are_not_tested(store: FeatureStore, change: Callable[[FeatureStore], str], sentence: str) -> None:
    found = run_difference(store, run(store, "knn"), change(store))
    (row,) = found.rows
    assert (row.verdict, row.p_value, row.splits) == (UNTESTED, None, 0)
    assert row.difference == (row.b or 0) - (row.a or 0)
    text = "\n".join(lines(found))
    assert sentence in text
    assert "not tested, since the folds differ" in text


def test_a_run_without_results_says_what_is_not_known(store: FeatureStore) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    first = run(store, "knn")
    views.create(store.path, "fewer", "SELECT ImgId, Genre1 FROM labeled WHERE ImgId < 158")
    store.refresh()
    with pytest.raises(KeyboardInterrupt):
        run(store, "knn", view="fewer", on_progress=stop)
    found = run_difference(store.refresh(), first, runs(store)[0]["run_id"])
    assert found.images.added is None
    assert "is not known until both runs have tested each of theirs" in "\n".join(lines(found))


def test_other_tasks_and_protocols_have_no_difference(store: FeatureStore) -> None:
    several = run(store, "knn", view="multilabel", label="Genres")
    found = run_difference(store, run(store, "knn"), several)
    assert (found.metric, found.rows[0].difference, found.rows[0].verdict) == ("map", None, UNTESTED)
    curve = run_difference(store, several, run(store, "knn", protocol="learning-curve"))
    assert len(curve.rows) == 5
    assert " 10%" in "\n".join(lines(curve))


def asked(capfd, monkeypatch, *arguments: str) -> tuple[int, str, str]:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["benchmarks", *arguments])
    capfd.readouterr()
    return run_command(cli, "benchmarks"), *capfd.readouterr()


def test_the_command(store: FeatureStore, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    first, second = run(store, "knn", repeats=2), run(store, "knn", "ridge")
    place = ("--store", str(store.path))
    code, out, _ = asked(capfd, monkeypatch, "runs", "diff", first, second[:-1], *place)
    assert code == 0
    assert out.startswith(f"A  {first}\nB  {second}\nimages     60 in both, with the same labels\n")
    assert "settings   repeats: 2 → 1\n" in out
    assert SAME in out
    assert asked(capfd, monkeypatch, "runs", *place, "diff", first, second)[1] == out, "the group's options count"
    code, text, _ = asked(capfd, monkeypatch, "runs", "diff", first, second, *place, "--json")
    found = json.loads(text)
    assert (code, found["a"], found["b"], found["same_cells"]) == (0, first, second, 3)
    assert {row["head"]: row["verdict"] for row in found["rows"]} == {"knn": SAME, "ridge": ONLY_B}
    code, listed, _ = asked(capfd, monkeypatch, "runs", *place, "--json")
    assert (code, [one["run_id"] for one in json.loads(listed)]) == (0, [second, first])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["cv", "cv"], 1, "2 ids begin"),
        (["xyz", "cv"], 1, "has no run 'xyz': `benchmarks runs` lists those it has"),
        (["cv"], 2, "Missing argument 'B'"),
    ],
)
def test_bad_names_are_one_sentence(store, arguments, code, sentence, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    run(store, "majority")
    run(store, "knn")
    found, _, err = asked(capfd, monkeypatch, "runs", "diff", *arguments, "--store", str(store.path))
    assert (found, "Traceback" in err) == (code, False)
    assert sentence in err
