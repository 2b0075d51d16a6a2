"""The runner: cells are stored, resumed, fail alone, and are the same on any number of workers."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from failing_heads import process_of
from support import Collection, CountingBackbone, carrying, edit_record, jpeg, movie, write_metadata

from benchmarks.commands.cli import cli
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find
from benchmarks.plan.cells import Cell
from benchmarks.plan.protocols import Protocol
from benchmarks.plan.reading import from_store
from benchmarks.report.tables import notes, published_rows, tables, tables_as_text
from benchmarks.results.canary import canary_results
from benchmarks.results.images import image_results, whole_cells
from benchmarks.results.read import comparison, predictions, runs
from benchmarks.run import process, runner
from benchmarks.run.cost import measure
from benchmarks.run.execution import as_task
from benchmarks.run.limits import Limits
from benchmarks.run.pool import computed
from featurestore import FeatureStore
from featurestore.catalog import views
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
    plan = {"heads": find(FEW), "protocols": [Protocol("cv", folds=3)], "limits": Limits(workers=1)}
    (first,) = runner.run(bench, **plan)
    assert (first.cells, first.computed, first.failed) == (9, 9, 0)
    state = bench.state.id
    (second,) = runner.run(bench, **plan)
    assert (second.run_id, second.computed) == (first.run_id, 0)
    assert bench.state.id == state
    (third,) = runner.run(bench, **{**plan, "heads": find([*FEW, "lda"])})
    assert third.computed == 3, "only what is new"
    assert bench.sql("SELECT count(*) AS n FROM bench_predictions")["n"][0].as_py() == 12 * 20


def test_the_table_is_of_the_last_run_and_holds_all_rows_of_its_folds(bench: FeatureStore) -> None:
    plan = {"protocols": [Protocol("cv", folds=2)], "limits": Limits(workers=1)}
    for names in (FEW, ["knn"], FEW):
        (report,) = runner.run(bench, heads=find(names), **plan)
        (table,) = tables(bench)
        assert (table["run_id"], {row["head"] for row in table["rows"]}) == (report.run_id, set(FEW))
    assert report.computed == 0


def test_equal_vectors_under_two_names_are_two_rows(bench: FeatureStore) -> None:
    bench.embed(CountingBackbone(name="twin"))
    (_report,) = runner.run(bench, heads=find(["knn"]), protocols=[Protocol("cv", folds=2)], limits=Limits(workers=1))
    rows = comparison(bench, runs(bench)[0])
    assert [row["backbone"] for row in rows] == ["counting", "twin"]
    assert rows[0]["accuracy"] == rows[1]["accuracy"]


def test_rows_without_an_embedding_are_counted(bench: FeatureStore) -> None:
    features = bench.features("counting")
    table = pa.table({"ImgName": features.table["ImgName"][:50], "0": features.X[:50, 0], "1": features.X[:50, 1]})
    path = bench.path.parent / "half.parquet"
    pq.write_table(table, path)
    bench.import_embeddings(path, backbone="half")
    runner.run(bench, heads=find(["majority"]), protocols=[Protocol("cv", folds=2)], limits=Limits(workers=1))
    (found,) = tables(bench)
    assert (found["n_rows"], found["n_missing"]) == (50, 10)
    assert any("10 rows of the view are left out" in note for note in notes(found))


def test_changed_data_reruns_its_cells(bench: FeatureStore) -> None:
    plan = {"heads": find(FEW), "protocols": [Protocol("cv", folds=3)], "limits": Limits(workers=1)}
    runner.run(bench, **plan)
    images = Path(bench.sql("SELECT any_value(source) AS f FROM images")["f"][0].as_py())
    (images / "120.jpg").write_bytes(jpeg(9999))
    bench.embed(CountingBackbone())
    (report,) = runner.run(bench, **plan)
    assert report.computed == 9


def test_other_bytes_in_a_file_that_a_head_is_given_are_another_result(bench: FeatureStore, tmp_path: Path) -> None:
    dataset = from_store(bench, "counting")
    (split, *_) = Protocol("cv", folds=3, repeats=1).splits(dataset)

    def key(path: Path) -> str:
        return Cell(replace(find(["vgg19"])[0], parameters={"weights": str(path)}), dataset, split, 0).key

    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    before = key(first)
    assert key(second) == before, "where they lie is no matter"
    first.write_bytes(b"two")
    assert key(first) != before


def test_workers_do_not_change_a_bit(bench: FeatureStore, tmp_path: Path) -> None:
    heads = find(["logistic_regression", "rbf_svm", "random_forest", "mlp_512"])
    query = "SELECT cell, ImgId, y, proba FROM bench_predictions ORDER BY cell, ImgId"
    runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=2)], limits=Limits(workers=1))
    alone = bench.sql(query)
    copy = FeatureStore(tmp_path / "copy")
    shutil.copytree(bench.path, copy.path)
    for name in ("bench_cells", "bench_scores", "bench_predictions", "bench_runs"):
        assert copy.has(name)
    tables = {name: manifest for name, manifest in copy.state.tables.items() if not name.startswith("bench_")}
    edit_record(copy.path / "state.json", tables=tables)
    copy.refresh()
    (report,) = runner.run(copy, heads=heads, protocols=[Protocol("cv", folds=2)], limits=Limits(workers=2))
    assert report.computed == 8
    assert copy.sql(query).equals(alone)


def test_a_failing_head_is_a_row_and_the_others_finish(bench: FeatureStore) -> None:
    heads = [crashing("raise"), crashing("nan"), *find(["majority"])]
    (report,) = runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=3)], limits=Limits(workers=1))
    assert report.failed == 6
    rows = {row["head"]: row for row in comparison(bench, runs(bench)[0])}
    assert rows["majority"]["accuracy"] == pytest.approx(2 / 3, abs=0.01)
    assert rows["crashing_raise"]["accuracy"] is None
    assert rows["crashing_raise"]["failure"] == "RuntimeError: out of luck"
    assert "no probabilities" in rows["crashing_nan"]["failure"]
    text = tables_as_text(tables(bench), "terminal")
    assert "crashing_raise failed in 3 of 3: RuntimeError: out of luck" in text
    (again,) = runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=3)], limits=Limits(workers=1))
    assert again.computed == 6, "what failed is tried again"


def test_the_interval_is_over_the_rows_that_were_predicted(bench: FeatureStore) -> None:
    value = float(bench.features("counting").X[0, 0])
    meets = {"how": "meet", "value": value}
    heads = [HeadSpec("sometimes", "fails where it learns from the first row", "failing_heads:make", meets)]
    (_report,) = runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=3)], limits=Limits(workers=1))
    (row,) = comparison(bench, runs(bench)[0])
    assert (row["cells"], row["failed"], row["n_test"]) == (3, 2, 20)


def test_a_run_that_is_cut_short_has_whole_repeats_of_every_backbone(bench: FeatureStore) -> None:
    bench.embed(CountingBackbone(name="twin"))

    def stop(done: int, total: int) -> None:
        if done == 6:  # the first of two repeats: two folds of each backbone, and two cells more
            raise KeyboardInterrupt

    plan = {"heads": find(["knn"]), "protocols": [Protocol("cv", folds=2, repeats=2)], "limits": Limits(workers=1)}
    with pytest.raises(KeyboardInterrupt):
        runner.run(bench, on_progress=stop, **plan)
    bench.refresh()
    cells = bench.sql("SELECT backbone, repeat, fold FROM bench_cells").to_pylist()
    first = {(cell["backbone"], cell["fold"]) for cell in cells if cell["repeat"] == 0}
    assert (len(cells), len(first)) == (6, 4)
    run = runs(bench)[0]
    images = image_results(bench, run, whole_cells(bench, run))
    assert images is not None
    assert {one.shape[0] for one in images.correct.values()} == {1}, "both rows, over the repeat that both have"
    assert len(images.correct) == 2


def test_an_interrupt_keeps_what_was_finished(bench: FeatureStore) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    plan = {"heads": find(FEW), "protocols": [Protocol("cv", folds=3)], "limits": Limits(workers=1)}
    with pytest.raises(KeyboardInterrupt):
        runner.run(bench, **plan, on_progress=stop)
    (report,) = runner.run(bench, **plan)
    assert report.computed == 5


def test_accuracy_is_that_of_the_stored_probabilities(bench: FeatureStore) -> None:
    (_report,) = runner.run(bench, heads=find(["knn"]), protocols=[Protocol("cv", folds=3)], limits=Limits(workers=1))
    rows = bench.sql("SELECT y, proba FROM bench_predictions").to_pylist()
    right = np.mean([np.argmax(row["proba"]) == row["y"] for row in rows])
    (row,) = comparison(bench, runs(bench)[0])
    assert row["accuracy_pooled"] == pytest.approx(right)
    assert row["n_test"] == 60


def test_the_table_in_every_format(bench: FeatureStore) -> None:
    runner.run(bench, heads=find(FEW), protocols=[Protocol("cv", folds=3), Protocol("study")], limits=Limits(workers=1))
    found = tables(bench)
    assert {table["protocol"] for table in found} == {"cv", "study"}
    study = next(table for table in found if table["protocol"] == "study")
    assert not any(row["published"] for row in study["rows"]), "the published rows are of other classes"
    assert json.loads(tables_as_text(found, "json"))[0]["rows"]
    assert "| counting | knn |" in tables_as_text(found, "markdown")
    assert any("the set of best rows by accuracy" in note for note in notes(found[0]))
    frame = pd.read_csv(io.StringIO(tables_as_text(found, "csv")))
    assert len(frame) == sum(len(table["rows"]) for table in found)
    assert frame.columns[:6].tolist() == ["protocol", "view", "label", "task", "backbone", "head"]
    for table in found:
        for row in table["rows"]:
            same = frame[(frame["protocol"] == table["protocol"]) & (frame["head"] == row["head"])]
            assert same["accuracy"].item() == pytest.approx(row["accuracy"])
            assert (same["low"].item(), same["high"].item()) == pytest.approx(tuple(row["interval"]))


def test_published_rows_carry_intervals() -> None:
    rows = published_rows()
    assert rows[0]["accuracy"] == 0.5583
    assert rows[0]["interval"] == pytest.approx([0.481, 0.632], abs=2e-3)
    assert all(row["published"] for row in rows)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--head", "xgbost"], "did you mean 'xgboost'"),
        (["--reference", ""], "got '' as the reference"),
        (["--backbone", "nothing"], "the store has no backbone 'nothing' (it has: counting)"),
        (["--view", "nothing"], "the store has no view 'nothing'"),
        (["--label", "nothing"], "no column 'nothing'"),
        (["--folds", "40"], "fewer than the 40 folds"),
        (["--label", "Title"], "Title has 60 different values over the 60 rows"),
        (["--time-limit", "nan"], "got a time limit of nan s"),
        (["--backbone", "counting+counting"], "names a backbone twice"),
        (["--finetune", "resnet50_head", "--on", "auto"], "got fine-tuning for a cluster, which computes heads only"),
    ],
)
def test_bad_input_is_one_sentence(bench: FeatureStore, arguments, sentence, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["benchmarks", "run", "--quick", "--store", str(bench.path), *arguments])
    assert run_command(cli, "benchmarks") == 1
    err = capfd.readouterr().err
    assert sentence in err
    assert "Traceback" not in err


@pytest.mark.parametrize("seed", ["-1", "9999999999"])
@pytest.mark.parametrize("command", [["run"], ["canary"], ["fit", "knn", "--backbone", "counting", "-o", "model"]])
def test_seeds_that_no_library_takes(bench: FeatureStore, command, seed, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["benchmarks", *command, "--store", str(bench.path), "--seed", seed])
    assert run_command(cli, "benchmarks") != 0
    err = capfd.readouterr().err
    assert f"{seed} is not in the range 0<=x<=2147483647" in err
    assert "Traceback" not in err


def test_the_command_ends_with_the_table(bench: FeatureStore, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    other = {"view": "multilabel", "label": "Genres", "limits": Limits(workers=1)}
    runner.run(bench, heads=find(["majority"]), protocols=[Protocol("cv", folds=2)], **other)
    monkeypatch.setattr(
        "sys.argv",
        [
            "benchmarks",
            "run",
            "--quick",
            "--store",
            str(bench.path),
            "--head",
            "majority",
            "--head",
            "knn",
            "--folds",
            "2",
        ],
    )
    assert run_command(cli, "benchmarks") == 0
    out = capfd.readouterr().out
    assert "knn" in out
    assert "multilabel" not in out, "the table of another run"
    assert out.splitlines()[-2].endswith(f"report {bench.path / 'report.html'}")
    assert "rows of multilabel" in (bench.path / "report.md").read_text()


def test_without_embeddings_or_classes(store: FeatureStore, collection: Collection) -> None:
    plan = {
        "heads": find(["majority"]),
        "protocols": [Protocol("cv", folds=2)],
        "limits": Limits(workers=1),
    }
    with pytest.raises(InputError, match="holds no embeddings"):
        runner.run(store, **plan)
    store.ingest(metadata=collection.metadata, images=collection.images, top_genres=1)
    store.embed(CountingBackbone())
    with pytest.raises(InputError, match="one class only"):
        runner.run(store, **plan)


def test_ctrl_c_while_the_workers_start_counts_when_they_have() -> None:
    started = []

    def start() -> None:
        with process.interrupted_later():
            signal.raise_signal(signal.SIGINT)
            started.append("all of them")

    with pytest.raises(KeyboardInterrupt):
        start()
    assert started == ["all of them"]


def test_an_interrupt_while_the_first_worker_starts_is_not_lost(tmp_path: Path) -> None:
    """The server that forks the workers imports for seconds; here one of its imports presses Ctrl-C."""
    (tmp_path / "presses.py").write_text(
        "import os, signal, time\ntime.sleep(1)\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(0.5)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(
        "from benchmarks.run import pool, process\n"
        "if __name__ == '__main__':\n"
        "    process._PRELOAD = ['presses']\n"
        "    try:\n"
        "        print(list(pool.computed(len, [[1], [2, 3]], workers=1, failed=str)))\n"
        "    except KeyboardInterrupt:\n"
        "        print('stopped')\n"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("stopped\n", "")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_ctrl_c_is_one_line(bench: FeatureStore) -> None:
    # What is finished is stored every few seconds; here at once, so that the test need not wait for it.
    at_once = "from benchmarks.run import execution; execution.FLUSH_SECONDS = 0.1; "
    command = [sys.executable, "-c", f"{at_once}from benchmarks.commands.cli import main; main()", "run"]
    command += ["--store", str(bench.path), "--workers", "2"]
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
    assert err.rstrip().splitlines()[-1].startswith("benchmarks: stopped; finished work is kept")
    bench.refresh()
    assert bench.sql("SELECT count(*) AS n FROM bench_cells")["n"][0].as_py() > 0


@pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
def test_no_worker_outlives_a_runner_that_was_killed(bench: FeatureStore, tmp_path: Path) -> None:
    mark = tmp_path / "hangs"
    (tmp_path / "own.py").write_text(
        "from pathlib import Path\nfrom benchmarks.heads.registry import head\n"
        "class Hanging:\n    def fit(self, X, y):\n        import time\n"
        f"        Path({str(mark)!r}).touch()\n        time.sleep(600)\n"
        "    def predict_proba(self, X): ...\n"
        "@head('hanging')\ndef hanging(*, seed):\n    return Hanging()\n"
    )
    command = [sys.executable, "-m", "benchmarks.commands.cli", "run", "--store", str(bench.path), "--quick"]
    command += ["--head-file", str(tmp_path / "own.py"), "--head", "hanging"]
    runs = f"KILLED_{os.getpid()}"  # workers have sessions of their own, and the environment of the run
    temporary = tempfile.mkdtemp()  # short, since the path of a socket is limited
    env = {**os.environ, runs: "1", "TMPDIR": temporary}
    said = tmp_path / "said.txt"
    with said.open("wb") as told, subprocess.Popen(command, env=env, stdout=told, stderr=told) as process:
        deadline = time.monotonic() + 120
        while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        assert mark.exists(), (process.poll(), said.read_text("utf-8"))
        assert len(carrying(runs)) >= 4, "the run, the server of workers, a worker of three processes"
        process.kill()
        process.wait()
        while carrying(runs) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert carrying(runs) == []
        left = [name for name in os.listdir(temporary) if not name.startswith("pymp-")]
        shutil.rmtree(temporary)
        assert left == [], "but those of multiprocessing itself"


@pytest.mark.skipif(sys.platform != "linux", reason="memory limits are Linux's")
def test_what_dies_hangs_or_eats_memory_fails_alone(bench: FeatureStore) -> None:
    heads = [
        HeadSpec(how, "misbehaves", "failing_heads:misbehaving", {"how": how}) for how in ("die", "hang", "eat")
    ] + find(["majority"])
    limits = Limits(workers=2, seconds=5.0, memory_mb=500)
    (report,) = runner.run(bench, heads=heads, protocols=[Protocol("cv", folds=2)], limits=limits, cost=True)
    assert (report.cells, report.failed) == (8, 6)
    rows = {row["head"]: row for row in comparison(bench, runs(bench)[0])}
    assert rows["die"]["failure"] == "its process died (signal SIGKILL)"
    assert rows["hang"]["failure"] == "stopped: it ran longer than 5 s"
    assert "allocate" in rows["eat"]["failure"]
    assert rows["majority"]["failed"] == 0
    costs = bench.refresh().sql("SELECT head FROM bench_costs")["head"].to_pylist()
    assert costs == ["majority"], "what hangs or dies is not tried again for its costs"
    (again,) = runner.run(bench, heads=find(["majority"]), protocols=[Protocol("cv", folds=2)], limits=limits)
    assert again.computed == 0


def test_the_ensemble_is_the_mean_of_its_stored_members(bench: FeatureStore) -> None:
    members = ("knn", "lda", "ridge")
    spec = HeadSpec("few", "a mean", "benchmarks.heads.ensemble:build_ensemble", {"members": members}, members=members)
    plan = {"protocols": [Protocol("cv", folds=2)], "limits": Limits(workers=1)}
    (fitted,) = runner.run(bench, heads=[spec], **plan)
    plain = proba_of(bench, "few")
    runner.run(bench, heads=find(members), **plan)
    (derived,) = runner.run(bench, heads=[*find(members), spec], **plan)
    assert (fitted.computed, derived.computed) == (2, 2), "its members were there: nothing but their mean was made"
    np.testing.assert_allclose(proba_of(bench, "few"), plain, atol=1e-6)


def proba_of(store: FeatureStore, head: str) -> np.ndarray:
    """Probabilities of the newest run, by ImgId."""
    table = predictions(store, runs(store)[0])
    rows = [row for row in table.to_pylist() if row["head"] == head]
    return np.array([row["proba"] for row in sorted(rows, key=lambda row: row["ImgId"])])


def test_nested_chooses_inside_and_knows_the_best(bench: FeatureStore) -> None:
    names = ("knn", "lda")
    best = HeadSpec(
        "best", "the best", "benchmarks.heads.best:build_best", {"members": names}, members=names, rule="best"
    )
    (report,) = runner.run(
        bench,
        heads=[*find(names), best],
        protocols=[Protocol("nested", folds=2)],
        limits=Limits(workers=1),
    )
    assert (report.cells, report.failed) == (6, 0)
    cells = bench.sql("SELECT head, fold, chosen, inner_score FROM bench_cells").to_pylist()
    by = {(cell["head"], cell["fold"]): cell for cell in cells}
    for fold in range(2):
        assert json.loads(by["lda", fold]["chosen"])["components"] in (8, 16, 32, 64)
        scores = {name: by[name, fold]["inner_score"] for name in names}
        assert by["best", fold]["inner_score"] == min(scores.values()), "a log loss"
        assert scores[json.loads(by["best", fold]["chosen"])["head"]] == min(scores.values())


def test_several_seeds_are_run_by_heads_that_are_random(bench: FeatureStore) -> None:
    cheap = [replace(spec, parameters={**spec.parameters, "trees": 5}) for spec in find(["random_forest"])]
    (report,) = runner.run(
        bench, heads=[*cheap, *find(["knn"])], protocols=[Protocol("cv", folds=2)], seeds=3, limits=Limits(workers=1)
    )
    assert report.cells == 2 * 3 + 2
    rows = {row["head"]: row for row in comparison(bench, runs(bench)[0])}
    assert rows["random_forest"]["n_test"] == rows["knn"]["n_test"] == 60


def test_tasks_that_must_be_fresh_share_no_process() -> None:
    def processes(*alone: int) -> list[int]:
        found = computed(
            process_of, [0, 1, 2, 3], workers=1, failed=lambda sentence: -1, alone=lambda task: task in alone
        )
        return [process for _, process in found]

    assert len(set(processes(0, 1, 2, 3))) == 4
    assert len(set(processes())) == 1
    first, second, third, fourth = processes(2)
    assert first == second
    assert len({first, third, fourth}) == 3


@pytest.mark.slow
def test_costs_are_measured_apart_and_once(bench: FeatureStore) -> None:
    plan = {"heads": find(["knn", "ridge"]), "protocols": [Protocol("cv", folds=2)], "limits": Limits(workers=1)}
    runner.run(bench, **plan, cost=True)
    for row in comparison(bench, runs(bench)[0]):
        assert 0 < row["predict_ms_p50"] <= row["predict_ms_p95"]
        assert row["cost_fit_seconds"] > 0
        assert row["memory_mb"] > 0
        assert row["model_bytes"] > 1000
        assert row["depends_on_batch"] is False
    state = bench.refresh().state.id
    runner.run(bench, **plan, cost=True)
    assert bench.refresh().state.id == state


def test_what_a_library_loads_in_its_first_fit_is_no_cost_of_the_head(
    bench: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    slept_before: list[list[float]] = []  # when the clock and the peak of memory began
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("failing_heads._loaded", [])
    monkeypatch.setattr("benchmarks.run.cost._forget_peak", lambda: slept_before.append(list(slept)) or 0.0)
    dataset = from_store(bench, "counting")
    (split, *_) = Protocol("cv", folds=3, repeats=1).splits(dataset)
    spec = HeadSpec("slow", "loads late", "failing_heads:slow_to_load")
    cost = measure(as_task(Cell(spec, dataset, split, 0), tmp_path))
    assert (cost.message, slept_before, slept) == ("", [[20]], [20])


def test_the_reference_is_named_or_refused(bench: FeatureStore) -> None:
    plan = {"heads": find(FEW), "protocols": [Protocol("cv", folds=2)], "limits": Limits(workers=1)}
    runner.run(bench, **plan)
    assert runs(bench)[0]["reference"] == "counting/logistic_regression"
    runner.run(bench, **plan, reference="knn")
    assert runs(bench)[0]["reference"] == "counting/knn"
    rows = {row["head"]: row for row in tables(bench)[0]["rows"]}
    assert rows["knn"]["reference"]
    assert rows["knn"]["p_value"] is None
    assert rows["majority"]["difference"] == pytest.approx(rows["majority"]["accuracy"] - rows["knn"]["accuracy"])
    assert rows["majority"]["p_value"] is None, "no candidate"
    assert 0 <= rows["logistic_regression"]["p_value"] <= 1
    with pytest.raises(InputError, match="got 'xgboost' as the reference"):
        runner.run(bench, **plan, reference="xgboost")


def test_power_of_few_rows_is_a_sentence_too(bench: FeatureStore, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    def asked(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["benchmarks", "power", "--store", str(bench.path), *arguments])
        assert run_command(cli, "benchmarks") == 0
        return capfd.readouterr().out

    assert "any difference of accuracy will probably not be seen" in asked("--rows", "10", "--folds", "10")
    # Twelve heads over the one backbone of the store, one of them the most frequent class.
    found = json.loads(asked("--rows", "811", "--json"))
    assert (found["candidates"], found["from_stored_runs"]) == (11, False)
    assert 0.05 < found["detectable"]["cv 5 × 10"] < 0.07
    wide = json.loads(asked("--rows", "811", "--json", "--discordance", "0.25"))
    assert wide["detectable"]["cv 5 × 10"] > found["detectable"]["cv 5 × 10"]


def test_several_labels_a_row(bench: FeatureStore) -> None:
    sql = "SELECT ImgId, [Genre1] || CASE WHEN ImgId % 2 = 0 THEN ['Even'] ELSE [] END AS Tags FROM labeled"
    views.create(bench.path, "tags", sql)
    bench.refresh()
    (report,) = runner.run(
        bench,
        heads=find(FEW),
        protocols=[Protocol("cv", folds=2)],
        view="tags",
        label="Tags",
        limits=Limits(workers=1),
    )
    assert report.failed == 0
    run = runs(bench)[0]
    assert (run["task"], run["classes"]) == ("multilabel", ["Comedy", "Drama", "Even"])
    rows = comparison(bench, run)
    assert 0.3 < rows[0]["map"] <= 1
    assert "f1_micro" in rows[0]
    assert predictions(bench, run)["labels"][0].as_py() in ([0], [1], [0, 2], [1, 2])


def test_two_backbones_side_by_side(bench: FeatureStore) -> None:
    bench.embed(CountingBackbone(name="twin"))
    both = from_store(bench, "counting+twin")
    assert both.X.shape[1] == 2 * from_store(bench, "twin").X.shape[1]
    np.testing.assert_allclose(np.linalg.norm(both.X, axis=1), np.sqrt(2), rtol=1e-5)


def test_the_canary_sings_on_a_leak_only(bench: FeatureStore) -> None:
    heads = [*find(FEW), HeadSpec("peeps", "knows shuffled labels", "failing_heads:peeping", {"path": str(bench.path)})]
    plan = {"protocols": [Protocol("cv", folds=2)], "limits": Limits(workers=1)}
    (report,) = runner.run(bench, heads=heads, canary=True, **plan)
    found = {one.head: one for one in canary_results(bench, report.run_id)}
    assert found["majority"].chance == pytest.approx(2 / 3, abs=0.02)
    assert [name for name, one in found.items() if one.leaks] == ["peeps"]
    with pytest.raises(InputError, match="holds no run"):
        runs(bench)
