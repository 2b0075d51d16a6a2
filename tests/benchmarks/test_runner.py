"""The runner: cells are stored, resumed, fail alone, and are the same on any number of workers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Collection, CountingBackbone, jpeg, movie, write_metadata

from benchmarks import runner
from benchmarks.cli import cli
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find
from benchmarks.protocols import Protocol
from benchmarks.report import notes, published_rows, render, tables
from benchmarks.results import comparison
from featurestore import FeatureStore
from featurestore.commands.options import run_command
from featurestore.errors import InputError

FEW = ["majority", "logistic_regression", "knn"]


def crashing(how: str) -> HeadSpec:
    return HeadSpec(f"crashing_{how}", "fails on purpose", "failing_heads:make", {"how": how})


@pytest.fixture
def bench(tmp_path: Path) -> FeatureStore:
    """Sixty posters of two genres, embedded with a cheap backbone; one pair of twins."""
    images = tmp_path / "posters"
    images.mkdir()
    rows = []
    for i in range(60):
        (images / f"{100 + i}.jpg").write_bytes(jpeg(i))
        rows.append(movie(100 + i, "Drama" if i % 3 else "Comedy"))
    (images / "101.jpg").write_bytes((images / "102.jpg").read_bytes())
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=write_metadata(tmp_path / "m.csv", rows), images=images)
    store.embed(CountingBackbone())
    return store


def test_cells_are_stored_and_never_run_again(bench: FeatureStore) -> None:
    plan = {"heads": find(FEW), "protocols": [Protocol("cv", folds=3)], "workers": 1}
    (first,) = runner.run(bench, **plan)
    assert (first.cells, first.computed, first.failed) == (9, 9, 0)
    state = bench.state.id
    (second,) = runner.run(bench, **plan)
    assert (second.run_id, second.computed) == (first.run_id, 0)
    assert bench.state.id == state
    (third,) = runner.run(bench, **{**plan, "heads": find([*FEW, "lda"])})
    assert third.computed == 3, "only what is new"
    assert bench.sql("SELECT count(*) AS n FROM bench_predictions")["n"][0].as_py() == 12 * 20


def test_the_table_is_that_of_the_last_run(bench: FeatureStore) -> None:
    plan = {"protocols": [Protocol("cv", folds=2)], "workers": 1}
    for names in (FEW, ["knn"], FEW):
        (report,) = runner.run(bench, heads=find(names), **plan)
        (table,) = tables(bench)
        assert (table["run_id"], {row["head"] for row in table["rows"]}) == (report.run_id, set(names))
    assert report.computed == 0


def test_equal_vectors_under_two_names_are_two_rows(bench: FeatureStore) -> None:
    bench.embed(CountingBackbone(name="twin"))
    (report,) = runner.run(bench, heads=find(["knn"]), protocols=[Protocol("cv", folds=2)], workers=1)
    rows = comparison(bench, report.run_id)
    assert [row["backbone"] for row in rows] == ["counting", "twin"]
    assert rows[0]["accuracy"] == rows[1]["accuracy"]


def test_rows_without_an_embedding_are_counted(bench: FeatureStore) -> None:
    features = bench.features("counting")
    table = pa.table({"ImgName": features.table["ImgName"][:50], "0": features.X[:50, 0], "1": features.X[:50, 1]})
    path = bench.path.parent / "half.parquet"
    pq.write_table(table, path)
    bench.import_embeddings(path, backbone="half")
    runner.run(bench, heads=find(["majority"]), protocols=[Protocol("cv", folds=2)], workers=1)
    (found,) = tables(bench)
    assert (found["n_rows"], found["n_missing"]) == (50, 10)
    assert any("10 rows of the view are left out" in note for note in notes(found))


def test_changed_data_reruns_its_cells(bench: FeatureStore) -> None:
    plan = {"heads": find(FEW), "protocols": [Protocol("cv", folds=3)], "workers": 1}
    runner.run(bench, **plan)
    images = Path(bench.sql("SELECT any_value(folder) AS f FROM images")["f"][0].as_py())
    (images / "120.jpg").write_bytes(jpeg(9999))
    bench.embed(CountingBackbone())
    (report,) = runner.run(bench, **plan)
    assert report.computed == 9


def test_workers_do_not_change_a_bit(bench: FeatureStore, tmp_path: Path) -> None:
    heads = find(["logistic_regression", "rbf_svm", "random_forest", "mlp_512"])
    query = "SELECT cell, ImgId, y, proba FROM bench_predictions ORDER BY cell, ImgId"
    runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=2)], workers=1)
    alone = bench.sql(query)
    import shutil

    copy = FeatureStore(tmp_path / "copy")
    shutil.copytree(bench.path, copy.path)
    for name in ("bench_cells", "bench_scores", "bench_predictions", "bench_runs"):
        assert copy.has(name)
    state = json.loads((copy.path / "state.json").read_text())
    state["tables"] = {k: v for k, v in state["tables"].items() if not k.startswith("bench_")}
    (copy.path / "state.json").write_text(json.dumps(state))
    copy.refresh()
    (report,) = runner.run(copy, heads=heads, protocols=[Protocol("cv", folds=2)], workers=2)
    assert report.computed == 8
    assert copy.sql(query).equals(alone)


def test_a_failing_head_is_a_row_and_the_others_finish(bench: FeatureStore) -> None:
    heads = [crashing("raise"), crashing("nan"), *find(["majority"])]
    (report,) = runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=3)], workers=1)
    assert report.failed == 6
    rows = {row["head"]: row for row in comparison(bench, report.run_id)}
    assert rows["majority"]["accuracy"] == pytest.approx(2 / 3, abs=0.01)
    assert rows["crashing_raise"]["accuracy"] is None
    assert rows["crashing_raise"]["failure"] == "RuntimeError: out of luck"
    assert "no probabilities" in rows["crashing_nan"]["failure"]
    text = render(tables(bench), "terminal")
    assert "crashing_raise failed in 3 of 3: RuntimeError: out of luck" in text
    (again,) = runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=3)], workers=1)
    assert again.computed == 6, "what failed is tried again"


def test_the_interval_is_over_the_rows_that_were_predicted(bench: FeatureStore) -> None:
    value = float(bench.features("counting").X[0, 0])
    meets = {"how": "meet", "value": value}
    heads = [HeadSpec("sometimes", "fails where it learns from the first row", "failing_heads:make", meets)]
    (report,) = runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=3)], workers=1)
    (row,) = comparison(bench, report.run_id)
    assert (row["cells"], row["failed"], row["n_test"]) == (3, 2, 20)


def test_an_interrupt_keeps_what_was_finished(bench: FeatureStore) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    plan = {"heads": find(FEW), "protocols": [Protocol("cv", folds=3)], "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        runner.run(bench, **plan, on_progress=stop)
    (report,) = runner.run(bench, **plan)
    assert report.computed == 5


def test_accuracy_is_that_of_the_stored_probabilities(bench: FeatureStore) -> None:
    (report,) = runner.run(bench, heads=find(["knn"]), protocols=[Protocol("cv", folds=3)], workers=1)
    rows = bench.sql("SELECT y, proba FROM bench_predictions").to_pylist()
    right = np.mean([np.argmax(row["proba"]) == row["y"] for row in rows])
    (row,) = comparison(bench, report.run_id)
    assert row["accuracy_pooled"] == pytest.approx(right)
    assert row["n_test"] == 60


def test_the_table_in_every_format(bench: FeatureStore) -> None:
    runner.run(bench, heads=find(FEW), protocols=[Protocol("cv", folds=3), Protocol("study")], workers=1)
    found = tables(bench)
    assert {table["protocol"] for table in found} == {"cv", "study"}
    study = next(table for table in found if table["protocol"] == "study")
    assert not any(row["published"] for row in study["rows"]), "the published rows are of other classes"
    assert json.loads(render(found, "json"))[0]["rows"]
    assert render(found, "csv").splitlines()[0].startswith("protocol,backbone,head")
    assert "| counting | knn |" in render(found, "markdown")
    assert any("can't be told from the best" in note for note in notes(found[0]))


def test_rows_are_tied_where_their_intervals_overlap(bench: FeatureStore) -> None:
    runner.run(bench, heads=find(FEW), protocols=[Protocol("cv", folds=3)], workers=1)
    (table,) = tables(bench)
    best = table["rows"][0]["interval"]
    for row in table["rows"]:
        assert row["tied_with_best"] == (row["interval"][1] >= best[0] and row["interval"][0] <= best[1])
    assert sum(row["tied_with_best"] for row in table["rows"]) == 3, "60 rows can't tell these heads apart"


def test_published_rows_carry_intervals() -> None:
    rows = published_rows()
    assert rows[0]["accuracy"] == 0.5583
    assert rows[0]["interval"] == pytest.approx([0.481, 0.632], abs=2e-3)
    assert all(row["published"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--head", "xgbost"], "did you mean xgboost"),
        (["--backbone", "nothing"], "the store has no backbone 'nothing' (it has: counting)"),
        (["--view", "nothing"], "the store has no view 'nothing'"),
        (["--label", "nothing"], "no column 'nothing'"),
        (["--folds", "40"], "fewer than the 40 folds"),
    ],
)
def test_bad_input_is_one_sentence(bench: FeatureStore, arguments, sentence, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["benchmarks", "run", "--store", str(bench.path), *arguments])
    assert run_command(cli, "benchmarks") == 1
    err = capfd.readouterr().err
    assert sentence in err
    assert "Traceback" not in err


def test_the_command_ends_with_the_table(bench: FeatureStore, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(
        "sys.argv",
        ["benchmarks", "run", "--store", str(bench.path), "--head", "majority", "--head", "knn", "--folds", "2"],
    )
    assert run_command(cli, "benchmarks") == 0
    out = capfd.readouterr().out
    assert "knn" in out
    assert out.rstrip().endswith(f"report {bench.path / 'report.md'}")
    assert "majority" in (bench.path / "report.md").read_text()


def test_without_embeddings_or_classes(store: FeatureStore, collection: Collection) -> None:
    plan = {"heads": find(["majority"]), "protocols": [Protocol("cv", folds=2)], "workers": 1}
    with pytest.raises(InputError, match="holds no embeddings"):
        runner.run(store, **plan)
    store.ingest(metadata=collection.metadata, images=collection.images, top_genres=1)
    store.embed(CountingBackbone())
    with pytest.raises(InputError, match="one class only"):
        runner.run(store, **plan)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_ctrl_c_is_one_line(bench: FeatureStore) -> None:
    command = [sys.executable, "-m", "benchmarks.cli", "run", "--store", str(bench.path), "--workers", "2"]
    process = subprocess.Popen(
        [*command, "--head", "mlp_1024", "--head", "knn", "--repeats", "200"],
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not bench.has("bench_cells") and time.monotonic() < deadline:
        time.sleep(0.1)
        bench.refresh()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.rstrip().splitlines()[-1].startswith("benchmarks: stopped; what was finished is kept")
    bench.refresh()
    assert bench.sql("SELECT count(*) AS n FROM bench_cells")["n"][0].as_py() > 0
