"""Whatever a head does it fails alone: with a sentence, while the others finish, and nothing of it is left running."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import util
from pathlib import Path

import hostile_heads
import pytest
from support import CountingBackbone, carrying, jpeg, movie, write_metadata

from benchmarks.commands.cli import cli
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.results.read import comparison, runs
from benchmarks.run import runner, watcher
from benchmarks.run.fit import fit
from benchmarks.run.limits import Limits
from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.commands.options import run_command
from featurestore.errors import InputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sessions and /proc are Linux's")
HELPERS = Path(hostile_heads.__file__).parent


def hostile(table: str, how: str = "") -> HeadSpec:
    name = f"{table}_{how}".rstrip("_")
    return HeadSpec(name, "does what it should not", "hostile_heads:make", {"table": table, "how": how})


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Sixty posters of two genres, embedded with a cheap backbone."""
    folder = tmp_path_factory.mktemp("bench")
    images = folder / "posters"
    images.mkdir()
    for i in range(60):
        (images / f"{100 + i}.jpg").write_bytes(jpeg(i))
    rows = [movie(100 + i, "Drama" if i % 3 else "Comedy") for i in range(60)]
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", rows), images=images)
    store.embed(CountingBackbone())
    return store


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder for temporary files: where its path is long, workers start in another, slower way."""
    with tempfile.TemporaryDirectory(prefix="h-") as folder:
        yield Path(folder)


def failures(store: FeatureStore, heads: list[HeadSpec], **options: object) -> dict[str, str | None]:
    """What the newest run tells of each head; None where it did not fail."""
    limits = Limits(workers=2, seconds=2.0)
    runner.run(store, heads=heads, protocols=[Protocol("cv", folds=2, repeats=1)], limits=limits, **options)  # type: ignore[arg-type]
    rows = comparison(store, runs(store)[0])
    assert all(row["failed"] in (0, row["cells"]) for row in rows)
    return {row["head"]: row["failure"] if row["failed"] else None for row in rows}


@pytest.mark.filterwarnings("ignore:Exception ignored in")
def test_whatever_a_head_does_it_fails_alone_and_leaves_nothing(
    bench: FeatureStore, short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, path = os.getcwd(), os.environ["PATH"]
    util.get_temp_dir()  # that of multiprocessing, which stays until this process ends
    monkeypatch.setattr("tempfile.tempdir", str(short))
    told = failures(bench, [*(hostile("fit", how) for how in hostile_heads.FIT), *find(["majority", "knn"])])
    expected = {f"fit_{how}": failure for how, (_, failure) in hostile_heads.FIT.items()}
    assert told == expected | {"majority": None, "knn": None}
    assert (os.getcwd(), os.environ["PATH"]) == (here, path)
    assert carrying(hostile_heads.MARK) == []
    assert hostile_heads.MARK not in os.environ, "what came from a worker was not unpickled"
    assert [*short.iterdir(), *Path("/dev/shm").glob(f"{hostile_heads.MARK}*")] == []


def test_classes_and_probabilities_are_checked(bench: FeatureStore) -> None:
    wrong = {"classes": hostile_heads.ANSWERED, "proba": hostile_heads.PROBA}
    heads = [hostile(table, how) for table, known in wrong.items() for how in known]
    told = failures(bench, [*heads, hostile("reversed"), *find(["majority"])])
    for table, known in wrong.items():
        for how, (_, failure) in known.items():
            assert told[f"{table}_{how}"] == failure
    rows = {row["head"]: row for row in comparison(bench, runs(bench)[0])}
    assert rows["reversed"]["log_loss"] == pytest.approx(rows["majority"]["log_loss"]), "columns are put back by name"


def test_columns_of_several_labels_are_put_back_by_name_too(bench: FeatureStore) -> None:
    sql = "SELECT ImgId, [Genre1] || CASE WHEN ImgId % 4 = 0 THEN ['Even'] ELSE [] END AS Tags FROM labeled"
    views.create(bench.path, "tags", sql)
    bench.refresh()
    heads = [hostile("reversed"), hostile("classes", "twice"), *find(["majority"])]
    told = failures(bench, heads, view="tags", label="Tags")
    assert told == {"reversed": None, "majority": None, "classes_twice": hostile_heads.ANSWERED["twice"][1]}
    rows = {row["head"]: row for row in comparison(bench, runs(bench)[0])}
    assert rows["reversed"]["map"] == pytest.approx(rows["majority"]["map"])


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (hostile("fit", "exit_0"), "SystemExit: 0"),
        (hostile("fit", "interrupt"), "KeyboardInterrupt"),
        (hostile("fit", "hard_exit"), r"its process died \(exit code 0\)"),
        (hostile("classes", "negative"), "expected distinct whole numbers from 0 to 1"),
        (hostile("proba", "nan"), "no probabilities"),
    ],
    ids=lambda value: value.name if isinstance(value, HeadSpec) else "",
)
def test_a_head_that_is_fitted_for_good_fails_with_a_sentence(
    bench: FeatureStore, spec: HeadSpec, sentence: str
) -> None:
    with pytest.raises(InputError, match=f"the head '{spec.name}' can't be fitted: .*{sentence}"):
        fit(bench, spec, "counting")


HEADS = """
import sys
sys.path.insert(0, {helpers!r})
from hostile_heads import make
from benchmarks.heads.registry import head
@head("prints", random=False)
def prints(*, seed): return make(seed=seed, table="fit", how="prints")
@head("leaves", random=False)
def leaves(*, seed): return make(seed=seed, table="fit", how="hard_exit")
@head("floods", random=False)
def floods(*, seed): return make(seed=seed, table="fit", how="floods")
print("printed by the file")
"""


def test_what_heads_print_or_end_does_not_reach_the_commands_own_output(
    bench: FeatureStore, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "own.py"
    file.write_text(HEADS.format(helpers=str(HELPERS)))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["benchmarks", *arguments, "--head-file", str(file)])
        return (run_command(cli, "benchmarks"), *capfd.readouterr())

    store = ["--store", str(bench.path)]
    # In a process of its own: the server of the workers has the streams that it was started with.
    run = [
        sys.executable,
        "-m",
        "benchmarks.commands.cli",
        "run",
        *store,
        "--quick",
        "--folds",
        "2",
        "--head-file",
        str(file),
    ]
    result = subprocess.run(
        [*run, *(f"--head={name}" for name in ("prints", "leaves", "floods")), "--json"], capture_output=True, text=True
    )
    assert result.returncode == 0
    assert [report["failed"] for report in json.loads(result.stdout)["runs"]] == [2]
    assert {"printed by the file", r"\x1b]0;owned\x07written by a head"} <= set(result.stderr.splitlines())
    assert len(result.stderr) < 3 * watcher.MOST_PRINTED, "of each process only so much"
    code, out, err = call("heads", "--check", "--head", "prints", "--head", "leaves", "--json")
    assert code == 1
    assert {row["name"]: row["violations"] for row in json.loads(out)}["leaves"] == {
        "process": "its process died (exit code 0)"
    }
    code, out, err = call("fit", "leaves", *store, "--backbone", "counting", "-o", str(tmp_path / "model"))
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "benchmarks: the head 'leaves' can't be fitted: its process died (exit code 0)"
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_ctrl_c_twice_leaves_one_sentence_and_no_process(bench: FeatureStore) -> None:
    mark = f"CTRL_C_{os.getpid()}"
    command = [sys.executable, "-m", "benchmarks.commands.cli", "run", "--store", str(bench.path), "--workers", "2"]
    process = subprocess.Popen(
        [*command, "--head", "mlp_1024", "--repeats", "50"],
        env={**os.environ, mark: "1"},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 90
    while len(carrying(mark)) < 5 and time.monotonic() < deadline:  # the run, the server, a worker of three processes
        time.sleep(0.1)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.3)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.rstrip().splitlines()[-1].startswith("benchmarks: stopped; finished work is kept")
    deadline = time.monotonic() + 5
    while carrying(mark) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert carrying(mark) == []
