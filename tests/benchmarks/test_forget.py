"""What a bench has stored of an image that the store forgets: its predictions go, and the rest is read as before."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from bench_store import in_this_process, make_store
from filelock import FileLock

from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.report.tables import tables
from benchmarks.results.pending import FOLDER, Pending
from benchmarks.results.read import predictions
from benchmarks.results.schemas import CELLS, PREDICTIONS, SCORES
from benchmarks.results.selection import selected
from benchmarks.run import runner
from featurestore import FeatureStore
from featurestore.errors import IntegrityError, StoreLocked
from featurestore.storage.lock import LOCK_FILE

ERA = "SELECT ImgId, Genre1, 1900 + (ImgId - 100) // 20 * 10 AS era FROM labeled"


@pytest.fixture(scope="module")
def benched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with results."""
    store = make_store(tmp_path_factory.mktemp("benched"))
    store.create_view("own", ERA)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.run.execution.computed", in_this_process)
        runner.run(store, heads=find(["lda"]), backbones=["a"], view="own", protocols=[Protocol("across", by="era")])
    return store.path


def test_results_are_read_without_the_image(benched: Path, tmp_path: Path) -> None:
    store = FeatureStore(shutil.copytree(benched, tmp_path / "store"))
    before = {run["run_id"]: predictions(store, run).to_pandas() for run in map(dict, runs(store))}
    report = store.forget([101, 150])
    assert report.rows["bench_predictions"] == sum(len(x[x["ImgId"].isin([101, 150])]) for x in before.values())
    assert report.rows["bench_across"] == 1
    for run in runs(store):
        left, there = predictions(store, run).to_pandas(), before[run["run_id"]]
        assert left.equals(there[~there["ImgId"].isin([101, 150])].reset_index(drop=True))
    (table,) = [one for one in tables(store) if one.get("across")]
    row = next(one for one in table["across"]["rows"] if one["head"] == "lda")
    assert all(np.isfinite(value) for line in row["matrix"]["accuracy"] for value in line)


def runs(store: FeatureStore) -> list[dict]:  # type: ignore[type-arg]
    return selected(store.refresh(), protocols=["across"])


def test_results_that_wait_are_kept_without_the_image(benched: Path, tmp_path: Path) -> None:
    store = FeatureStore(shutil.copytree(benched, tmp_path / "store"))
    rows = store.query("SELECT * FROM bench_cells ORDER BY cell LIMIT 1").cast(CELLS)
    cell = rows["cell"][0].as_py()
    waiting = store.query("SELECT * FROM bench_predictions WHERE cell = ? ORDER BY ImgId", [cell]).cast(PREDICTIONS)
    number = waiting["ImgId"][0].as_py()
    named = rows.set_column(0, CELLS.field("cell"), [["waiting"]])
    batch = {"bench_cells": named, "bench_scores": SCORES.empty_table(), "bench_predictions": waiting}
    with Pending(store) as pending, FileLock(store.path / LOCK_FILE):
        pending.add(batch)
        with pytest.raises(StoreLocked, match="kept in"):
            pending.store_all(wait_seconds=0)
    (path,) = (store.path / FOLDER).glob("*.arrow")
    assert store.forget(number).caches >= 1
    assert not path.exists()
    with Pending(store) as pending:
        pending.adopt()
        assert len(pending) == 1
        (entry,) = pending._entries
        left = entry.batch["bench_predictions"]["ImgId"].to_pylist()
    assert left == [one for one in waiting["ImgId"].to_pylist() if one != number]
    (path,) = (store.path / FOLDER).glob("*.arrow")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(IntegrityError, match=r"can't be read.*nothing was forgotten: remove the file"):
        store.forget(left[0])
