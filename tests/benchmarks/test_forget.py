"""What a bench has stored of an image that the store forgets: its predictions go, the rest is read as before."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from bench_store import in_this_process, make_store

from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.report.tables import tables
from benchmarks.results.read import predictions
from benchmarks.results.selection import selected
from benchmarks.run import runner
from featurestore import FeatureStore

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


@pytest.mark.slow
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
