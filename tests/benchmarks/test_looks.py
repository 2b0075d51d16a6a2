"""A run goes repeat by repeat, cheap heads first, and shows its table early; a quick look says that it is one."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bench_store import in_this_process, make_store

from benchmarks.commands.cli import cli
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import HEADS, find
from benchmarks.plan.cells import Cell
from benchmarks.plan.protocols import Protocol
from benchmarks.plan.reading import from_store
from benchmarks.report.page import write_html
from benchmarks.report.tables import notes, quick_note, tables
from benchmarks.results.pending import Pending
from benchmarks.run import runner
from benchmarks.run.planning import CHEAP_FIRST, plan_run
from benchmarks.run.repeats import Repeats
from featurestore import FeatureStore
from featurestore.commands.options import run_command
from featurestore.errors import StoreLocked

MEAN = HeadSpec(
    "both", "two", "benchmarks.heads.ensemble:build_ensemble", {"members": ["knn", "lda"]}, members=("knn", "lda")
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("looks")).path


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    shutil.copytree(made, tmp_path / "store")
    return FeatureStore(tmp_path / "store")


def planned(store: FeatureStore, heads: Sequence[HeadSpec], *, repeats: int) -> Sequence[Cell]:
    datasets = [from_store(store, name, view="labeled", label=None) for name in ("a", "b")]
    plan = plan_run(
        Protocol("cv", folds=2, repeats=repeats),
        heads=heads,
        datasets=datasets,
        seed=0,
        seeds=1,
        reference=None,
        canary=False,
        tuning=None,
    )
    return plan.cells


def run(store: FeatureStore, heads: Sequence[HeadSpec], *, repeats: int, protocol: str = "cv", **more: Any) -> str:
    plan = Protocol(protocol, folds=2, repeats=repeats)
    (report,) = runner.run(store, heads=heads, protocols=[plan], backbones=["a"], **more)
    store.refresh()
    return report.run_id


def test_repeat_by_repeat_and_cheap_heads_first(store: FeatureStore) -> None:
    own = HeadSpec("own", "unknown cost", "failing_heads:make", {"how": "even"})
    cells = planned(store, [MEAN, own, *find(["ridge", "majority", "lda", "knn"])], repeats=2)
    assert [cell.split.repeat for cell in cells] == [0] * 24 + [1] * 24
    names = [cell.head.name for cell in cells[:24]]
    assert list(dict.fromkeys(names)) == ["majority", "knn", "lda", "ridge", "own", "both"]
    assert names == sorted(names, key=names.index), "a head is done before the next starts"
    assert {len(cell.members) for cell in cells if cell.head is MEAN} == {2}


def test_the_heads_with_a_place_exist() -> None:
    assert set(CHEAP_FIRST) <= HEADS.keys()
    assert not any(HEADS[name].members for name in CHEAP_FIRST)


def test_a_look_is_due_as_the_number_of_whole_repeats_has_doubled(store: FeatureStore) -> None:
    cells = planned(store, find(["knn"]), repeats=10)
    repeats, shown = Repeats(cells, 10), []
    for cell in cells:
        repeats.tried(cell)
        if repeats.due:
            shown.append(repeats.shown())
    assert shown == [1, 2, 4, 8]
    resumed = Repeats([cell for cell in cells if cell.split.repeat >= 3], 10)
    assert not resumed.due, "what was whole before"
    early = Repeats(cells, 10)
    for cell in cells:
        if cell.split.repeat != 1:
            early.tried(cell)
    assert early.whole == 1, "later repeats count from the first on"


def test_the_first_look_has_all_rows_over_one_repeat_and_any_reader_sees_it(store: FeatureStore) -> None:
    looks = []

    def look(run_id: str, whole: int, repeats: int) -> None:
        other = FeatureStore(store.path)
        (mine,) = tables(store, run_id=run_id, repeats=whole)
        (theirs,) = tables(other)
        assert [row["head"] for row in theirs["rows"]] == [row["head"] for row in mine["rows"]]
        looks.append((whole, repeats, {row["head"]: row["splits"] for row in mine["rows"]}, quick_note(mine)))

    run(store, [MEAN, *find(["majority", "knn", "lda"])], repeats=3, on_repeat=look)
    heads = ("majority", "knn", "lda", "both")
    assert [(whole, repeats, rows) for whole, repeats, rows, _ in looks] == [
        (1, 3, dict.fromkeys(heads, 2)),
        (2, 3, dict.fromkeys(heads, 4)),
    ]
    assert [bool(note) for *_, note in looks] == [True, False]
    assert "a quick look so far: one repeat of 3" in str(looks[0][3])


def test_no_look_while_the_results_cannot_be_stored(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, looks = Pending.store_all, []

    def locked(self: Pending, *, wait_seconds: float) -> None:
        if wait_seconds < 600 and len(self):
            raise StoreLocked("another process writes")
        stored(self, wait_seconds=wait_seconds)

    monkeypatch.setattr(Pending, "store_all", locked)
    run(store, find(["knn"]), repeats=2, on_repeat=lambda *given: looks.append(given))
    assert looks == []
    assert tables(store)[0]["rows"][0]["splits"] == 4


def asked(capfd, monkeypatch, store: FeatureStore, *arguments: str) -> tuple[int, str, str]:  # type: ignore[no-untyped-def]
    given = ("run", "--store", str(store.path), "--backbone", "a", "--folds", "2", "--head", "knn", "--head", "lda")
    monkeypatch.setattr("sys.argv", ["benchmarks", *given, *arguments])
    capfd.readouterr()
    return run_command(cli, "benchmarks"), *capfd.readouterr()


def test_the_command_shows_looks_on_stderr(store: FeatureStore, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("benchmarks.run.runner.computed", in_this_process)
    monkeypatch.setenv("COLUMNS", "200")
    code, out, err = asked(capfd, monkeypatch, store, "--repeats", "3")
    assert code == 0
    assert [line for line in err.splitlines() if line.startswith("after")] == [
        "after repeat 1 of 3",
        "after repeat 2 of 3",
    ]
    assert err.count("backbone head") == 2
    assert out.count("backbone head") == 1
    assert "after repeat" not in out
    assert "a quick look" not in out
    code, out, err = asked(capfd, monkeypatch, store, "--repeats", "4", "--seed", "1", "--json")
    assert (code, "after repeat" in err, out[0]) == (0, False, "{")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.slow
def test_ctrl_c_after_the_first_look_keeps_it(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "store")
    command = [sys.executable, "-m", "benchmarks.commands.cli", "run", "--store", str(tmp_path / "store")]
    command += [
        "--head",
        "knn",
        "--head",
        "majority",
        "--backbone",
        "a",
        "--repeats",
        "100",
        "--folds",
        "2",
        "--workers",
        "1",
    ]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"after repeat 1 of 100"):
            break
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert err.decode().rstrip().splitlines()[-1].startswith("benchmarks: stopped; finished work is kept")
    assert b"Traceback" not in err
    (table,) = tables(FeatureStore(tmp_path / "store"))
    assert {row["head"] for row in table["rows"]} == {"knn", "majority"}
    assert min(row["splits"] for row in table["rows"]) >= 2


@pytest.mark.parametrize(
    ("protocol", "repeats", "note"),
    [
        ("cv", 1, "a quick look: one repeat of the usual 10"),
        ("nested", 1, "a quick look: one repeat of the usual 10"),
        ("cv", 2, None),
        ("study", 1, None),
        ("learning-curve", 1, None),
    ],
)
def test_a_quick_look_says_so(
    store: FeatureStore, tmp_path: Path, protocol: str, repeats: int, note: str | None
) -> None:
    run(store, find(["knn"]), repeats=repeats, protocol=protocol)
    (table,) = tables(store)
    write_html(store, [table], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    said = [line for line in notes(table) if "quick look" in line]
    assert [line.partition(";")[0] for line in said] == ([note] if note else [])
    headings = [line for line in page.splitlines() if line.startswith("<h2>")]
    assert ["a quick look" in line for line in headings] == [note is not None]


def test_a_long_row_beside_makes_it_no_quick_look(store: FeatureStore) -> None:
    run(store, find(["knn"]), repeats=2)
    run(store, find(["lda"]), repeats=1)
    (table,) = tables(store)
    assert quick_note(table) is None
    shuffled = run(store, find(["lda"]), repeats=1, canary=True)
    assert quick_note(tables(store, run_id=shuffled)[0]) is None
