"""No result is lost while another process writes to the store, also when the run is killed as it waits."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from bench_store import in_this_process, make_store
from click.testing import CliRunner
from filelock import FileLock

from benchmarks.heads.registry import find
from benchmarks.plan.cells import Cell, Cost
from benchmarks.plan.protocols import Protocol
from benchmarks.plan.reading import from_store
from benchmarks.results.pending import FOLDER, Pending
from benchmarks.results.write import cost_tables
from benchmarks.run import execution, runner
from benchmarks.run.limits import Limits
from featurestore import FeatureStore
from featurestore.commands.cli import cli
from featurestore.errors import InputError, StoreError, StoreLocked
from featurestore.storage.lock import LOCK_FILE

HOLDER = (
    "import sys\nfrom filelock import FileLock\nwith FileLock(sys.argv[1]):\n    print('held', flush=True)\n    input()"
)
CELLS = 9
PLAN: dict[str, Any] = {"protocols": [Protocol("cv", folds=3)], "backbones": ["a"], "limits": Limits(workers=1)}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """A store with two backbones."""
    return make_store(tmp_path)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are computed here and stored one by one, and nobody waits long."""
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    monkeypatch.setattr(execution, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(execution, "FLUSH_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(execution, "LAST_FLUSH_SECONDS", 0.2)
    monkeypatch.setattr(runner, "START_WAIT_SECONDS", 0.1)


class Holder:
    """Another process that holds the lock of a store."""

    def __init__(self, store: FeatureStore) -> None:
        self._command = [sys.executable, "-c", HOLDER, str(store.path / LOCK_FILE)]

    def take(self) -> None:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"

    def give(self) -> None:
        self._process.communicate("\n", timeout=60)


@pytest.fixture
def holder(store: FeatureStore) -> Iterator[Holder]:
    """One that ends with the test."""
    one = Holder(store)
    yield one
    if hasattr(one, "_process") and one._process.poll() is None:
        one.give()


def run(store: FeatureStore, **more: Any) -> runner.RunReport:
    (report,) = runner.run(store, heads=find(["majority", "knn", "ridge"]), **PLAN, **more)
    return report


def stored(store: FeatureStore, table: str = "bench_cells") -> tuple[int, int]:
    """How many rows there are, and of how many cells."""
    store.refresh()
    row = store.sql(f"SELECT count(*) AS rows, count(DISTINCT cell) AS cells FROM {table}").to_pylist()[0]
    return row["rows"], row["cells"]


def files(store: FeatureStore) -> list[Path]:
    return sorted((store.path / FOLDER).glob("*.arrow"))


@contextmanager
def locked(store: FeatureStore) -> Iterator[None]:
    with FileLock(store.path / LOCK_FILE):
        yield


@pytest.mark.usefixtures("_quick")
def test_a_lock_that_is_held_for_a_while_costs_nothing(store: FeatureStore, holder: Holder) -> None:
    kept = []

    def on_progress(done: int, total: int) -> None:
        if done == 2:
            holder.take()
        if done == 6:
            kept.extend(files(store))
            holder.give()

    report = run(store, on_progress=on_progress)
    assert (report.computed, report.failed) == (CELLS, 0)
    assert len(kept) == 4, "one file each time"
    assert stored(store) == (CELLS, CELLS)
    assert stored(store, "bench_predictions") == (3 * 60, CELLS)
    assert not (store.path / FOLDER).exists()


@pytest.mark.usefixtures("_quick")
def test_a_lock_that_is_held_longer_than_any_wait(store: FeatureStore, holder: Holder) -> None:
    def on_progress(done: int, total: int) -> None:
        if done == 2:
            holder.take()

    with pytest.raises(StoreLocked, match=r"is being written by.*is kept in '.*\.bench-pending'.*the next `benchmarks"):
        run(store, on_progress=on_progress)
    assert stored(store) == (2, 2)
    assert len(files(store)) == CELLS - 2
    with pytest.raises(StoreLocked, match="kept in"):
        run(store)
    assert len(files(store)) == CELLS - 2
    holder.give()
    assert run(store).computed == 0
    assert stored(store) == (CELLS, CELLS)
    assert stored(store, "bench_predictions") == (3 * 60, CELLS)
    assert not (store.path / FOLDER).exists()
    kinds = store.sql("SELECT count(DISTINCT run_id) AS n FROM bench_cells")["n"].to_pylist()
    assert kinds == [1], "they belong to the run that computed them"


CHILD = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import featurestore
from bench_store import in_this_process
from benchmarks.heads.registry import find
from benchmarks.run import execution
from test_pending import run
execution.computed = in_this_process
def on_progress(done, total):
    if done == 1:
        print("computing", flush=True)
        input()
run(featurestore.open(sys.argv[1]), on_progress=on_progress)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_as_it_waits_loses_nothing(store: FeatureStore) -> None:
    here = Path(__file__).resolve()
    places = [str(here.parent), str(here.parents[1] / "helpers")]
    command = [sys.executable, "-c", CHILD, str(store.path), *places]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "computing\n"
        with locked(store):
            process.stdin.write("\n")
            process.stdin.flush()
            deadline = time.monotonic() + 60
            while not files(store) and time.monotonic() < deadline:
                time.sleep(0.05)
            with Pending(store) as other:
                other.adopt()
                assert len(other) == 0, "its owner runs"
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert not store.refresh().has("bench_cells")
    assert run(store).computed == 0
    assert stored(store) == (CELLS, CELLS)
    assert not (store.path / FOLDER).exists()


@pytest.fixture
def costs(store: FeatureStore) -> dict[str, pa.Table]:
    """The cost of a head, as a batch."""
    dataset = from_store(store, "a")
    cell = Cell(find(["knn"])[0], dataset, next(iter(Protocol("cv", folds=3).splits(dataset))), 0)
    return cost_tables([(cell, Cost(fit_seconds=1.0))])


def keep(store: FeatureStore, batch: dict[str, pa.Table]) -> Path:
    """The file of ``batch``, whose owner has ended."""
    with Pending(store) as pending, locked(store):
        pending.add(batch)
        with pytest.raises(StoreLocked, match="kept"):
            pending.store_all(wait_seconds=0)
    (path,) = files(store)
    return path


def test_costs_wait_too(store: FeatureStore, costs: dict[str, pa.Table]) -> None:
    keep(store, costs)
    with Pending(store) as pending:
        pending.adopt()
        pending.store_all(wait_seconds=10)
    assert store.sql("SELECT * FROM bench_costs").to_pylist() == costs["bench_costs"].to_pylist()
    assert files(store) == []


def test_what_was_stored_before_its_file_was_removed_is_not_stored_again(
    store: FeatureStore, costs: dict[str, pa.Table]
) -> None:
    keep(store, costs)
    store.append(costs)
    later = costs["bench_costs"].set_column(3, costs["bench_costs"].schema.field(3), [[datetime.now(UTC)]])
    with Pending(store) as pending:
        pending.adopt()
        pending.add({"bench_costs": later})
        pending.store_all(wait_seconds=10)
    found = store.sql("SELECT * FROM bench_costs ORDER BY measured_at").to_pylist()
    assert found == pa.concat_tables([costs["bench_costs"], later]).to_pylist()
    assert files(store) == []


def test_a_commit_that_was_made_although_it_failed_is_not_made_again(
    store: FeatureStore, costs: dict[str, pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    append = FeatureStore.append

    def fail_late(self: FeatureStore, tables: dict[str, pa.Table], *, wait_seconds: float) -> None:
        append(self, tables, wait_seconds=wait_seconds)
        raise StoreError("the disk is full")

    with Pending(store) as pending:
        pending.add(costs)
        monkeypatch.setattr(FeatureStore, "append", fail_late)
        with pytest.raises(StoreError, match="full"):
            pending.store_all(wait_seconds=10)
        monkeypatch.undo()
        pending.store_all(wait_seconds=10)
        assert len(pending) == 0
    assert len(store.sql("SELECT * FROM bench_costs")) == 1


@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_damaged_file_is_one_sentence_and_stays(place: int, store: FeatureStore, costs: dict[str, pa.Table]) -> None:
    path = keep(store, costs)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with Pending(store) as pending, pytest.raises(InputError, match=r"can't be read \(its bytes have changed\): move"):
        pending.adopt()
    assert files(store) == [path]


def test_a_file_of_other_tables_is_refused(store: FeatureStore, costs: dict[str, pa.Table]) -> None:
    keep(store, {"bench_costs": costs["bench_costs"].select(["model", "measured_at"])})
    with Pending(store) as pending, pytest.raises(InputError, match="its tables are not those of results"):
        pending.adopt()


def test_a_folder_that_cannot_be_made_is_no_error_of_its_own(store: FeatureStore, costs: dict[str, pa.Table]) -> None:
    (store.path / FOLDER).write_text("in the way")
    with Pending(store) as pending:
        pending.add(costs)
        with locked(store), pytest.raises(StoreLocked):
            pending.store_all(wait_seconds=0)
        assert len(pending) == 1, "still in memory"
        pending.store_all(wait_seconds=10)
    assert len(store.sql("SELECT * FROM bench_costs")) == 1


@pytest.mark.parametrize("command", ["gc", "verify"])
def test_upkeep_of_the_store_leaves_them_alone(command: str, store: FeatureStore, costs: dict[str, pa.Table]) -> None:
    path = keep(store, costs)
    found = CliRunner().invoke(cli, [command, "--store", str(store.path)])
    assert found.exit_code == 0
    assert FOLDER not in found.output
    assert files(store) == [path]


def test_a_lock_that_is_a_link_is_not_followed(store: FeatureStore, tmp_path: Path) -> None:
    """A store may be a stranger's, and a lock file is emptied when it is taken."""
    (tmp_path / "mine").write_text("years of work")
    (store.path / FOLDER).mkdir()
    (store.path / FOLDER / f"{'a' * 32}-000000-{'0' * 32}.arrow").write_bytes(b"")
    (store.path / FOLDER / f"{'a' * 32}.lock").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match=r"can't be locked .*: move the folder out of the store"):
        Pending(store).adopt()
    assert (tmp_path / "mine").read_text() == "years of work"
