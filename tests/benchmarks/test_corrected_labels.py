"""Corrected labels in the bench: told in its notes, and never mixed with results of the labels that were read."""

from pathlib import Path

import pytest
from bench_store import IDS, in_this_process, make_store
from support import movie, write_metadata

from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.plan.reading import from_store
from benchmarks.report.tables import notes, tables
from benchmarks.results.diff import run_difference
from benchmarks.run import runner
from featurestore import FeatureStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    return make_store(tmp_path)


def run(store: FeatureStore) -> tuple[str, int]:
    """The id of a run of one head, and how many of its cells were computed."""
    plan = Protocol("cv", folds=2, repeats=1, seed=0)
    (report,) = runner.run(store, heads=find(["knn"]), protocols=[plan], backbones=["a"])
    store.refresh()
    return report.run_id, report.computed


def corrected_note(store: FeatureStore, run_id: str) -> list[str]:
    (table,) = tables(store, run_id=run_id)
    return [line for line in notes(table) if "corrected" in line]


def test_corrected_labels_have_cells_of_their_own_and_a_note(store: FeatureStore, tmp_path: Path) -> None:
    first, computed = run(store)
    data = from_store(store, "a")
    assert (computed, corrected_note(store, first)) == (2, [])
    store.correct_labels([100, 101, 103], "Comedy")
    second, computed = run(store)
    assert (second != first, computed) == (True, 2)
    after = from_store(store, "a")
    assert (after.data_hash != data.data_hash, after.corrected.tolist()) == (True, [100, 101, 103])
    assert corrected_note(store, second) == [
        "3 of the 60 labels are corrected in the store (`featurestore label list`)"
    ]
    assert corrected_note(store, first) == []
    assert run_difference(store, first, second).images.relabelled == 3
    (newest,) = tables(store)
    assert (newest["runs"], newest["cells"], newest["n_corrected"]) == ([second], 2, 3)
    assert run(store) == (second, 0), "equal labels, equal cells"

    store.uncorrect_labels(IDS[:4])
    assert from_store(store, "a").data_hash == data.data_hash
    assert run(store)[1] == 0, "the cells of what was read are still there"


def test_labels_that_were_corrected_where_they_come_from_are_no_longer_counted(
    store: FeatureStore, tmp_path: Path
) -> None:
    store.correct_labels(101, "Comedy")
    first, _ = run(store)
    assert corrected_note(store, first) == ["1 of the 60 labels is corrected in the store (`featurestore label list`)"]
    rows = [movie(int(one), "Comedy" if one % 3 == 0 or one == 101 else "Drama") for one in IDS]
    store.ingest(metadata=write_metadata(tmp_path / "m.csv", rows))
    second, computed = run(store)
    assert (second != first, computed, corrected_note(store, second)) == (True, 0, [])
