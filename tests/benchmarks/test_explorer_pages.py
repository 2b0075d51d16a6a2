"""The bench's pages of the explorer: figures as in the tables, each image once, ready for JSON, one sentence if not."""

import base64
import json
import shutil
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_store import IDS, in_this_process, make_store

from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.report import explorer_bench, explorer_pages
from benchmarks.report.explorer_bench import StartedBench
from benchmarks.report.explorer_runs import KeptRuns
from benchmarks.report.tables import tables
from benchmarks.results import breakdown
from benchmarks.results.breakdown import RowPredictions
from benchmarks.results.by_image import by_image
from benchmarks.results.read import predictions, runs
from benchmarks.run import runner
from benchmarks.scores.mcnemar import mcnemar
from featurestore import FeatureStore
from featurestore.errors import InputError

Pages = Mapping[str, Callable[[Mapping[str, Any]], Any]]
CLASSES = ["Comedy", "Drama"]


def run(store: FeatureStore, *heads: str, repeats: int = 2, **options: Any) -> str:
    plan = Protocol("cv", folds=2, repeats=repeats, seed=0)
    (report,) = runner.run(store, heads=find(heads), protocols=[plan], **{"backbones": ["a", "b"], **options})
    store.refresh()
    return report.run_id


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without results."""
    return make_store(tmp_path_factory.mktemp("pages")).path


@pytest.fixture(scope="module")
def made(empty: Path) -> Path:
    """A store with a run of two repeats, and one repeat of another head over the same folds."""
    store = FeatureStore(shutil.copytree(empty, empty.with_name("made")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.run.execution.computed", in_this_process)
        run(store, "lda", "majority")
        run(store, "ridge", repeats=1, backbones=["a"])
        run(store, "lda", backbones=["a"], canary=True)
    return store.path


@pytest.fixture(scope="module")
def pages(made: Path) -> Pages:
    return explorer_pages.pages(FeatureStore(made))


@pytest.fixture(scope="module")
def older(pages: Pages) -> str:
    return str(pages["runs"]({})[1]["run"])


def numbers(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_every_answer_is_json_without_nan(pages: Pages, older: str) -> None:
    queries = {
        "heads": {"a": "a/lda", "b": "b/lda"},
        "cell": {"row": "a/lda", "truth": "Drama", "predicted": "Comedy"},
        "predicted": {"row": "b/majority"},
        "predictions": {"id": "101"},
    }
    reading = {name for name in pages if "bench" not in name}
    assert reading == {"runs", "results", "errors", "doubtful", "wrong", *queries}
    for name in reading:
        answer = pages[name]({"run": older, **queries.get(name, {})})
        assert json.loads(json.dumps(answer, allow_nan=False)) == answer, name


def test_runs_and_the_table_of_one(pages: Pages, made: Path, older: str) -> None:
    newest, first = pages["runs"]({})
    assert (first["rows"], first["done"], first["quick"], first["n_corrected"]) == (4, 16, False, 0)
    assert first["text"].startswith("labeled by Genre1 · cv · 4 rows · 20")
    assert newest["quick"]
    (table,) = pages["results"]({"run": older})
    (asked,) = tables(FeatureStore(made), run_id=older)
    assert [(row["backbone"], row["head"], row["accuracy"]) for row in table["rows"]] == [
        (row["backbone"], row["head"], row["accuracy"]) for row in asked["rows"]
    ]
    assert table["title"].startswith("cv: ")
    assert any("the most frequent class alone gives" in note for note in table["notes"])
    (joined,) = pages["results"]({})
    assert {(row["backbone"], row["head"]) for row in joined["rows"]} == {
        ("a", "lda"), ("b", "lda"), ("a", "majority"), ("b", "majority"), ("a", "ridge"),
    }  # fmt: skip


def test_the_cells_of_a_confusion_matrix_open_their_images(pages: Pages, made: Path, older: str) -> None:
    found = pages["heads"]({"run": older, "a": "a/lda", "b": "b/lda"})
    assert found["classes"] == CLASSES
    for name, row in (("a", "a/lda"), ("b", "b/lda")):
        matrix = np.array(found[name]["confusion"])
        assert matrix.sum(axis=1).tolist() == [20, 40], "an image counts once, whatever its repeats"
        for truth, line in enumerate(matrix.tolist()):
            for predicted, count in enumerate(line):
                query = {"run": older, "row": row, "truth": CLASSES[truth], "predicted": CLASSES[predicted]}
                images = pages["cell"](query)
                assert len(images) == len({image["ImgId"] for image in images}) == count
                assert [image["p"] for image in images] == sorted((image["p"] for image in images), reverse=True)
                assert all(1 <= image["times"] <= image["of"] == 2 for image in images)


def test_mcnemars_test_is_over_the_splits_that_both_have(pages: Pages, made: Path) -> None:
    found = pages["heads"]({"a": "a/lda", "b": "a/ridge"})["mcnemar"]
    store = FeatureStore(made)
    table = [row for one in runs(store) for row in predictions(store, one).to_pylist()]
    right: dict[str, dict[int, bool]] = {"lda": {}, "ridge": {}}
    for row in table:
        if (row["backbone"], row["repeat"]) == ("a", 0) and row["head"] in right:
            right[row["head"]][row["ImgId"]] = int(np.argmax(row["proba"])) == row["y"]
    a, b = (np.array([right[head][int(one)] for one in IDS]) for head in ("lda", "ridge"))
    assert (found["only_a"], found["only_b"], found["images"]) == ((a & ~b).sum(), (b & ~a).sum(), 60)
    assert found["p"] == mcnemar(a, b).p_value
    assert "95 % interval" in found["text"]
    same = pages["heads"]({"a": "a/lda", "b": "a/lda"})["mcnemar"]
    assert (same["only_a"], same["only_b"], same["p"], same["text"]) == (0, 0, 1.0, None)
    assert pages["heads"]({"a": "a/lda", "b": "b/majority"})["mcnemar"]["text"] is None


def test_an_image_has_the_class_that_was_predicted_most_often() -> None:
    proba = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8], [1.0, 0.0]], np.float32)
    found = by_image(RowPredictions(np.array([7, 7, 7, 3, 3, 5], np.int32), np.array([0, 0, 0, 1, 1, 0]), proba))
    assert found.ids.tolist() == [3, 5, 7]
    assert found.predicted.tolist() == [1, 0, 1], "once each: the surer"
    np.testing.assert_allclose(found.p, [0.55, 1.0, 1.3 / 3], atol=1e-6)
    assert (found.times.tolist(), found.of.tolist()) == ([1, 1, 2], [2, 1, 3])
    assert found.confusion(2).tolist() == [[1, 1], [0, 1]]


def test_columns_are_in_the_order_of_all_usable_images(pages: Pages, older: str) -> None:
    wrong = pages["wrong"]({"run": older})
    share = numbers(wrong["values"], "<f4")
    assert (wrong["kind"], wrong["rows"], len(share)) == ("number", 2, len(IDS))
    assert set(share.tolist()) <= {0.0, 0.5, 1.0}
    for place, img_id in ((0, 100), (31, 131)):
        rows = pages["predictions"]({"run": older, "id": str(img_id)})
        told = [row["predicted"] != row["truth"] for row in rows if row["head"] == "lda"]
        assert share[place] == np.mean(told)
        assert {row["row"] for row in rows} == {"a/lda", "b/lda", "a/majority", "b/majority"}
        column = pages["predicted"]({"run": older, "row": "a/lda"})
        code = numbers(column["codes"], "<i2")[place]
        assert column["levels"][code] == next(row["predicted"] for row in rows if row["row"] == "a/lda")
    few = pages["predicted"]({"run": older, "row": "a/lda", "levels": "1"})
    assert (len(few["levels"]), few["levels"][1], set(numbers(few["codes"], "<i2"))) == (2, "other", {0, 1})


def test_labels_that_were_corrected_since_are_no_longer_listed(made: Path, tmp_path: Path, older: str) -> None:
    store = FeatureStore(shutil.copytree(made, tmp_path / "store"))
    pages = explorer_pages.pages(store)
    errors, doubtful = pages["errors"]({"run": older}), pages["doubtful"]({"run": older})
    first = errors["images"][0]
    assert (errors["note"], first["column"], first["truth"] != first["predicted"]) == (None, "Genre1", True)
    assert [row["right"] for row in errors["images"]] == sorted(row["right"] for row in errors["images"])
    assert doubtful["total"] == len(doubtful["images"]) > 0
    read: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(breakdown.StoredPredictions, "__getitem__", lambda *_: read.append(1))
        store.correct_labels(first["ImgId"], first["predicted"])
        again = pages["errors"]({"run": older})
    assert [row["ImgId"] for row in again["images"]] == [row["ImgId"] for row in errors["images"][1:]]
    assert again["note"] == "1 image has another label since this run, and is left out."
    assert read == [], "no prediction is read anew since a label was corrected"


def test_results_that_come_later_are_seen(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    store = FeatureStore(shutil.copytree(made, tmp_path / "store"))
    pages = explorer_pages.pages(store)
    before = pages["results"]({})
    run(store, "knn", repeats=1, backbones=["b"])
    assert len(pages["runs"]({})) == 3
    assert len(pages["results"]({})[0]["rows"]) == len(before[0]["rows"]) + 1


@pytest.mark.parametrize(
    ("name", "query", "sentence"),
    [
        ("results", {"run": "cv-none"}, "has no run 'cv-none'"),
        ("heads", {"a": "a/lda", "b": "c/lda"}, "has no row 'c/lda' with predictions"),
        ("heads", {}, "has no row '' with predictions"),
        ("cell", {"row": "a/lda", "truth": "Horror", "predicted": "Drama"}, "has no class 'Horror'"),
        ("predicted", {"row": "a/lda", "levels": "0"}, "got '0' as levels, expected a whole number from 1 to 1000"),
        ("predictions", {"id": "1; DROP"}, "got '1; DROP' as id, expected the number of an image"),
    ],
)
def test_bad_queries_are_one_sentence(pages: Pages, name: str, query: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        pages[name](query)


def test_several_labels_and_no_results_are_told(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    store = FeatureStore(shutil.copytree(empty, tmp_path / "store"))
    pages = explorer_pages.pages(store)
    assert pages["runs"]({}) == []
    with pytest.raises(InputError, match="the store has no results yet: run `benchmarks run --quick`"):
        pages["results"]({})
    run(store, "majority", repeats=1, backbones=["a"], view="multilabel", label="Genres")
    assert pages["results"]({})[0]["task"] == "multilabel"
    with pytest.raises(InputError, match="has several labels an image: no image has one predicted class"):
        pages["wrong"]({})


def test_memory_holds_few_runs(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.report.explorer_runs.RUNS_KEPT", 1)
    kept = KeptRuns(FeatureStore(made))
    first, second = (run["run"] for run in explorer_pages.runs(kept, {}))
    one = kept.asked({"run": first})
    assert kept.asked({"run": first}) is one
    kept.asked({"run": second})
    assert kept.asked({"run": first}) is not one


def test_the_entry_point_names_the_pages() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    module, _, name = project["entry-points"]["featurestore.pages"]["bench"].partition(":")
    assert getattr(import_module(module), name) is explorer_pages.pages


def ended(answer: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    for _ in range(200):
        found = answer()
        if found["state"] != "running":
            return found
        time.sleep(0.05)
    raise AssertionError("it does not end")


@pytest.fixture
def process() -> Iterator[Callable[[str], StartedBench]]:
    started: list[StartedBench] = []

    def start(code: str) -> StartedBench:
        started.append(StartedBench([sys.executable, "-c", code]))
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_the_process_of_a_bench_is_told_by_its_last_line_and_its_result(
    process: Callable[[str], StartedBench],
) -> None:
    result = json.dumps({"runs": [{"run_id": "cv-1", "cells": 5, "computed": 4, "failed": 1, "seconds": 2.4}]})
    done = process(f"print({result!r})")
    assert ended(done.answer) == {
        "state": "done", "text": "4 of 5 cells computed in 2 s, 1 failed", "run": "cv-1", "error": None,
    }  # fmt: skip
    failed = ended(process("import sys; sys.exit('noise\\nbenchmarks: no \\x1b[31mrow')").answer)
    assert (failed["state"], failed["run"], failed["error"]) == ("failed", None, "no \\x1b[31mrow")
    running = process("import time, sys; print('bench: 3 of 9 cells', file=sys.stderr, flush=True); time.sleep(60)")
    for _ in range(200):
        if running.answer()["text"] != "starting":
            break
        time.sleep(0.05)
    assert running.answer()["text"] == "bench: 3 of 9 cells"
    running.end()
    assert running.process.poll() is not None


def test_a_bench_is_started_once_with_what_was_chosen(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import json, sys; print(json.dumps(sys.argv[1:]), file=sys.stderr); sys.stdin.read(); sys.exit(1)"
    monkeypatch.setattr(explorer_bench, "COMMAND", ("-c", code))
    pages = explorer_pages.pages(FeatureStore(made))
    assert pages["bench"]({})["state"] == "idle"
    chosen = {"view": "labeled", "label": "Genre1", "backbone": "a"}
    for wrong, sentence in (
        ({"view": "labelled"}, "no view 'labelled'"),
        ({"label": "--on"}, "the view 'labeled' has no column '--on'"),
        ({"backbone": "z"}, "the store has no backbone 'z'"),
        ({"backbone": 3}, "got no backbone to run the bench with"),
    ):
        with pytest.raises(InputError, match=sentence):
            pages["POST bench"]({**chosen, **wrong})
    assert pages["POST bench"](chosen)["state"] in ("running", "failed")
    found = ended(lambda: pages["bench"]({}))
    assert json.loads(found["error"]) == [f"--store={made}", "--view=labeled", "--label=Genre1", "--backbone=a"]
    monkeypatch.setattr(explorer_bench, "COMMAND", ("-c", "import time; time.sleep(1)"))
    pages["POST bench"](chosen)
    with pytest.raises(InputError, match="a bench is running already"):
        pages["POST bench"](chosen)


@pytest.mark.slow
def test_the_quick_bench_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    pages = explorer_pages.pages(store)
    pages["POST bench"]({"view": "labeled", "label": "Genre1", "backbone": "a"})
    for _ in range(600):
        found = pages["bench"]({})
        if found["state"] != "running":
            break
        time.sleep(0.5)
    assert (found["state"], found["error"]) == ("done", None)
    assert [row["run"] for row in pages["runs"]({})] == [found["run"]]
