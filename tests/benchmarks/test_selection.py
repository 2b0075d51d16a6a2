"""Which stored cells stand in a table: all of the same folds, and none of others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_store import add_backbone, in_this_process, make_store
from support import edit_record

from benchmarks.commands.cli import cli
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find
from benchmarks.plan import cells
from benchmarks.plan.protocols import Protocol
from benchmarks.report.page import write_html
from benchmarks.report.tables import notes, tables, tables_as_text
from benchmarks.results import write
from benchmarks.results.images import image_results, whole_cells
from benchmarks.results.read import runs
from benchmarks.results.selection import selected
from benchmarks.run import runner
from benchmarks.run.fit import fit
from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.commands.options import run_command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("selection")).path


def repeats_of(store: FeatureStore) -> dict[str, list[bool]]:
    """By head, which repeats of the newest table it is compared over."""
    run = selected(store)[0]
    images = image_results(store, run, whole_cells(store, run))
    assert images is not None
    return {head: np.isfinite(of).all(axis=1).tolist() for (_, head), of in images.correct.items()}


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    for user in ("execution", "fit"):
        monkeypatch.setattr(f"benchmarks.run.{user}.computed", in_this_process)
    shutil.copytree(made, tmp_path / "store")
    return FeatureStore(tmp_path / "store")


@pytest.fixture(scope="module")
def two_runs(made: Path) -> FeatureStore:
    """A store with two runs over the same folds, for tests that leave it as it is."""
    store = FeatureStore(shutil.copytree(made, made.with_name("two_runs")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.run.execution.computed", in_this_process)
        run(store, ["knn"])
        run(store, ["lda"])
    return store.refresh()


def run(
    store: FeatureStore,
    heads: list[str],
    *,
    backbones: tuple[str, ...] = ("a",),
    protocol: str = "cv",
    repeats: int = 1,
    seed: int = 0,
    folds: int = 2,
    specs: tuple[HeadSpec, ...] = (),
    **more: Any,
) -> str:
    plan = Protocol(protocol, folds=folds, repeats=repeats, seed=seed)
    named = [*(find(heads) if heads else []), *specs]
    (report,) = runner.run(store, heads=named, backbones=backbones, protocols=[plan], seed=seed, **more)
    return report.run_id


def shown(store: FeatureStore, **options: Any) -> dict[tuple[str, str], int]:
    """Cells by row of the one table."""
    (table,) = tables(store, **options)
    return {(row["backbone"], row["head"]): row["cells"] for row in table["rows"] if not row["published"]}


def asked(capfd: Any, monkeypatch: pytest.MonkeyPatch, store: FeatureStore, *arguments: str) -> tuple[int, str, str]:
    command, *rest = arguments
    monkeypatch.setattr("sys.argv", ["benchmarks", command, "--store", str(store.path), *rest])
    capfd.readouterr()
    code = run_command(cli, "benchmarks")
    return code, *capfd.readouterr()


def test_a_quick_look_hides_no_long_run(store: FeatureStore) -> None:
    long = run(store, ["knn", "ridge"], repeats=3)
    quick = run(store, ["lda"])
    (table,) = tables(store)
    assert shown(store) == {("a", "knn"): 6, ("a", "ridge"): 6, ("a", "lda"): 2}
    assert (table["run_id"], table["runs"], table["cells"]) == (quick, [quick, long], 14)
    assert "3 times" in table["protocol_text"]
    assert table["reference"] == "a/knn", "that of the large run"
    text = tables_as_text([table], "terminal", width=200)
    assert "backbone head  cells" in text
    assert "rows have results on 2 to 6 splits: two rows are compared over the splits that both have" in text
    assert "stored cells of 2 runs over the same folds" in text
    assert repeats_of(store) == {"lda": [True, False, False], "knn": [True] * 3, "ridge": [True] * 3}


def test_rows_of_equal_numbers_of_cells_need_no_column(store: FeatureStore) -> None:
    run(store, ["knn"])
    run(store, ["ridge"])
    text = tables_as_text(tables(store), "terminal", width=200)
    assert shown(store) == {("a", "knn"): 2, ("a", "ridge"): 2}
    assert "cells " not in text.splitlines()[1]
    assert "splits" not in text


def test_repeats_that_were_added_later_and_another_backbone_belong_to_the_table(store: FeatureStore) -> None:
    run(store, ["knn"], repeats=2)
    run(store, ["knn"], backbones=("b",))
    run(store, ["knn"], repeats=3)
    assert shown(store) == {("a", "knn"): 6, ("b", "knn"): 2}


def test_a_reference_that_is_named_stays_so(store: FeatureStore) -> None:
    run(store, ["knn", "ridge"], repeats=2)
    run(store, ["lda"], reference="lda")
    assert tables(store)[0]["reference"] == "a/lda"


def other_seed(store: FeatureStore) -> None:
    run(store, ["lda"], seed=1)


def other_folds(store: FeatureStore) -> None:
    run(store, ["lda"], folds=3)


def other_labels(store: FeatureStore) -> None:
    """Two rows change places: as many of each class, and the same images."""
    sql = "SELECT ImgId, CASE ImgId WHEN 100 THEN 'Comedy' WHEN 102 THEN 'Drama' ELSE Genre1 END AS Genre1 FROM labeled"
    views.create(store.path, "changed", sql)
    store.refresh()
    run(store, ["lda"], view="changed", backbones=("b",))


def other_rows(store: FeatureStore) -> None:
    views.create(store.path, "fewer", "SELECT ImgId, Genre1 FROM labeled WHERE ImgId < 158")
    store.refresh()
    run(store, ["lda"], view="fewer", backbones=("b",))


def rows_without_an_embedding(store: FeatureStore) -> None:
    add_backbone(store, "c", 3, rows=56)
    run(store, ["lda"], backbones=("a", "c"))


@pytest.mark.parametrize("change", [other_seed, other_folds, other_labels, other_rows, rows_without_an_embedding])
def test_other_folds_or_data_are_another_table(store: FeatureStore, change: Callable[[FeatureStore], None]) -> None:
    first = run(store, ["knn", "ridge"], repeats=2)
    change(store)
    newest = tables(store)[0]
    assert {row["head"] for row in newest["rows"]} == {"lda"}
    assert newest["runs"] == [newest["run_id"]]
    assert shown(store, run_id=first) == {("a", "knn"): 4, ("a", "ridge"): 4}


def test_the_same_folds_come_back_with_their_seed(store: FeatureStore) -> None:
    run(store, ["knn"], repeats=2)
    run(store, ["knn", "lda"], seed=1)
    run(store, ["ridge"])
    assert shown(store) == {("a", "knn"): 4, ("a", "ridge"): 2}


def test_the_same_labels_under_another_name_are_the_same_folds(store: FeatureStore) -> None:
    views.create(store.path, "named", "SELECT ImgId, Genre1 AS kind FROM labeled")
    store.refresh()
    run(store, ["knn"], repeats=2)
    run(store, ["ridge"], view="named", label="kind")
    for table in tables(store):
        assert {row["head"] for row in table["rows"]} == {"knn", "ridge"}


def test_a_new_revision_of_a_backbone_replaces_its_rows_alone(store: FeatureStore) -> None:
    run(store, ["knn", "ridge"], backbones=("a", "b"), repeats=2)
    add_backbone(store, "a", 7)
    run(store, ["knn"], backbones=("a",))
    assert shown(store) == {("a", "knn"): 2, ("b", "knn"): 4, ("b", "ridge"): 4}


def test_a_new_version_of_a_head_replaces_the_old(store: FeatureStore) -> None:
    def made(k: int) -> tuple[HeadSpec, ...]:
        return (HeadSpec("few", "fails for 3", "failing_heads:make", {"how": "raise" if k == 3 else "even"}),)

    run(store, ["knn"], specs=made(1), repeats=2)
    run(store, [], specs=made(3))
    (table,) = tables(store)
    rows = {row["head"]: (row["cells"], row["failed"]) for row in table["rows"]}
    assert rows == {"knn": (4, 0), "few": (2, 2)}, "what the new version does, not what the old one did"


def test_an_ensemble_by_itself_does_not_replace_one_of_its_members(store: FeatureStore) -> None:
    spec = HeadSpec(
        "both",
        "two",
        "benchmarks.heads.ensemble:build_ensemble",
        {"members": ["knn", "ridge"]},
        members=("knn", "ridge"),
    )
    run(store, ["knn", "ridge"], specs=(spec,), repeats=2)
    run(store, [], specs=(spec,))
    assert shown(store)["a", "both"] == 4


def test_only_whole_repeats_of_a_run_that_was_cut_short_are_tested(store: FeatureStore) -> None:
    def stop(done: int, total: int) -> None:
        if done == 7:  # of the second repeat both folds of knn and one of ridge
            raise KeyboardInterrupt

    run(store, ["lda"], repeats=2)
    with pytest.raises(KeyboardInterrupt):
        run(store, ["knn", "ridge"], repeats=2, on_progress=stop)
    store.refresh()
    assert repeats_of(store) == {"lda": [True, True], "knn": [True, False], "ridge": [True, False]}


def test_shuffled_labels_are_in_no_table_but_their_own(store: FeatureStore, tmp_path: Path) -> None:
    run(store, ["knn"], repeats=2)
    shuffled = run(store, ["lda"], canary=True)
    assert shown(store) == {("a", "knn"): 4}
    (table,) = tables(store, run_id=shuffled)
    assert any("labels are shuffled" in note for note in notes(table))
    write_html(store, [table], tmp_path / "page.html", run_id=shuffled)
    assert "labels shuffled" in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize(("protocol", "cells"), [("learning-curve", 2), ("nested", 2), ("study", 1)])
def test_every_protocol_joins_its_runs(store: FeatureStore, protocol: str, cells: int, tmp_path: Path) -> None:
    run(store, ["knn"], protocol=protocol)
    run(store, ["lda"], protocol=protocol)
    (table,) = tables(store)
    assert {row["head"] for row in table["rows"]} == {"knn", "lda"}
    assert {row["cells"] for row in table["rows"]} == {cells}
    write_html(store, [table], tmp_path / "page.html")


def test_runs_from_before_the_table_of_details(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of version 2 of the bench: its runs stand together, those of later versions apart."""
    now = write.BENCH_VERSION
    set_version(monkeypatch, 2)
    first = run(store, ["knn"], repeats=2)
    forget_details(store)
    assert tables(store)[0]["n_unlabelled"] is None
    assert shown(store) == {("a", "knn"): 4}
    second = run(store, ["ridge"])
    assert tables(store)[0]["runs"] == [second, first]
    assert run(store, ["knn"], repeats=2) not in (first, second), "the record that it lacked is made"
    run(store, ["lda"], backbones=("b",))
    assert shown(store) == {("a", "knn"): 4, ("a", "ridge"): 2, ("b", "lda"): 2}
    set_version(monkeypatch, now)
    run(store, ["ridge"])
    assert shown(store) == {("a", "ridge"): 2}


def set_version(monkeypatch: pytest.MonkeyPatch, version: int) -> None:
    for module in (cells, write):
        monkeypatch.setattr(module, "BENCH_VERSION", version)


def forget_details(store: FeatureStore) -> None:
    tables = {name: manifest for name, manifest in store.state.tables.items() if name != "bench_run_details"}
    edit_record(store.path / "state.json", tables=tables)
    store.refresh()


def test_the_list_of_runs(store: FeatureStore, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    long = run(store, ["knn", "ridge"], repeats=2, backbones=("a", "b"))
    run(store, ["lda"])
    shuffled = run(store, ["majority"], canary=True)
    with pytest.raises(KeyboardInterrupt):
        run(store, ["linear_svm"], repeats=3, on_progress=stop)
    code, out, _ = asked(capfd, monkeypatch, store, "runs")
    assert code == 0
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [one["run_id"] for one in runs(store, canary=None)]
    words = [" ".join(line.split()[3:]) for line in lines[1:]]
    assert words == [
        "cv labeled/Genre1 3 of 6 whole a × linear_svm",
        "cv labeled/Genre1 2 of 2 canary a × majority",
        "cv labeled/Genre1 2 of 2 quick a × lda",
        "cv labeled/Genre1 16 of 16 whole a, b × knn, ridge",
    ]
    found = {one["run_id"]: one for one in json.loads(asked(capfd, monkeypatch, store, "runs", "--json")[1])}
    assert (found[long]["heads"], found[long]["backbones"]) == (["knn", "ridge"], ["a", "b"])
    assert found[shuffled]["canary"]


def test_one_run_alone(store: FeatureStore, capfd, monkeypatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    long = run(store, ["knn"], repeats=2)
    quick = run(store, ["lda"])
    for name in (long, quick):
        code, out, _ = asked(capfd, monkeypatch, store, "table", "--run", name, "--format", "json")
        (table,) = json.loads(out)
        assert (code, table["run_id"], table["runs"]) == (0, name, [name])
    code, out, _ = asked(capfd, monkeypatch, store, "table", "--run", long[:-2])
    assert code == 0
    assert " lda" not in out
    path = tmp_path / "page.md"
    assert asked(capfd, monkeypatch, store, "report", "--run", long, "-o", str(path))[0] == 0
    assert "knn" in path.read_text()
    assert "lda" not in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table", "--run", "cv"], "2 ids begin"),
        (["table", "--run", "xyz"], "has no run 'xyz': `benchmarks runs` lists those it has"),
        (["table", "--run", ""], "has no run ''"),
        (["report", "--run", "study-1"], "has no run 'study-1': `benchmarks runs`"),
        (["table", "--run", "cv", "--protocol", "cv"], "name one of them"),
    ],
)
def test_runs_that_nobody_can_mean(two_runs, arguments, sentence, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    code, _, err = asked(capfd, monkeypatch, two_runs, *arguments)
    assert code == 1
    assert sentence in err
    assert "Traceback" not in err


def test_the_card_has_the_best_supported_scores(store: FeatureStore) -> None:
    long = run(store, ["knn"], repeats=3)
    run(store, ["knn"], protocol="study")
    run(store, ["knn", "lda"], seed=1)
    _, card = fit(store, find(["knn"])[0], "a")
    assert [one["protocol"] for one in card["scores"]] == ["cv", "study"]
    assert card["scores"][0]["run_id"] == long
    assert "3 times" in card["scores"][0]["protocol_text"]


def test_the_card_prefers_scores_on_its_own_data(store: FeatureStore) -> None:
    run(store, ["knn"], repeats=3)
    add_backbone(store, "a", 9)
    newest = run(store, ["knn"])
    _, card = fit(store, find(["knn"])[0], "a")
    assert [one["run_id"] for one in card["scores"]] == [newest]
