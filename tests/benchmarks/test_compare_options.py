"""`compare` with groups, domains and another metric, and differences from any row, over a store and over arrays."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench_store import IDS, in_this_process, make_store, vectors

from benchmarks import Comparison, compare
from benchmarks.api.kept import TABLES
from benchmarks.plan.protocols import Protocol
from benchmarks.results.compared import compared
from benchmarks.results.selection import selected
from benchmarks.run import execution, runner
from featurestore import FeatureStore
from featurestore.errors import InputError

HERE = {"folds": 3, "quick": True, "progress": False}
Y = np.where(IDS % 3 == 0, "Comedy", "Drama")
DECADES = np.where(IDS % 2, 1980, 1990)


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    """Cells are computed in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execution, "computed", in_this_process)
        patch.setattr(runner, "computed", in_this_process)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Sixty images with the backbones ``a`` and ``b``, and a view with the decade of each."""
    store = make_store(tmp_path_factory.mktemp("options"))
    store.create_view("aged", "SELECT *, CASE WHEN ImgId % 2 = 1 THEN 1980 ELSE 1990 END AS decade FROM labeled")
    return store


@pytest.fixture(scope="module")
def both(store: FeatureStore) -> tuple[Comparison, Comparison]:
    """The same vectors and labels from a store and as arrays."""
    asked = {"heads": ["ridge", "knn", "majority"], "rank_by": "log_loss", **HERE}
    return compare(store, **asked), compare({"a": vectors(1), "b": vectors(2)}, Y, **asked)


def test_rows_are_ranked_and_compared_by_another_metric(
    store: FeatureStore, both: tuple[Comparison, Comparison]
) -> None:
    for comparison in both:
        losses = comparison.to_pandas()["log_loss"].tolist()
        assert losses == sorted(losses)
        assert comparison.metric == comparison.best.metric == "log_loss"
        assert comparison.best.score == losses[0]
        assert comparison.best.interval is None, "that in the table is of the accuracy"
        svg = comparison.plot().svg
        assert "log loss" in svg
        assert "95 % interval" not in svg
        frame = comparison.differences()
        table = comparison.to_pandas().set_index(["backbone", "head"])["log_loss"]
        for row in frame.to_dict("records"):
            expected = table[row["backbone"], row["head"]] - table["a", "ridge"]
            assert row["difference"] == pytest.approx(expected, abs=1e-9)
    run_id = both[0].table["run_id"]
    assert Comparison.load(store, run_id, rank_by="log_loss").table == both[0].table
    by_accuracy = Comparison.load(store, run_id)
    assert (by_accuracy.metric, by_accuracy.best.interval is None) == ("accuracy", False)
    assert "95 % interval" in by_accuracy.plot().svg
    with pytest.raises(InputError, match="got 'map' to rank by"):
        Comparison.load(store, run_id, rank_by="map")


def test_differences_from_any_row_are_those_of_the_inference(
    store: FeatureStore, both: tuple[Comparison, Comparison]
) -> None:
    run = next(one for one in selected(store, run_id=both[0].table["run_id"]))
    inference = compared(store, run, rank_by="log_loss").inference
    assert inference is not None
    for comparison in both:
        frame = comparison.differences("b/knn")
        assert frame.attrs == {"reference": "b/knn", "metric": "log_loss"}
        assert len(frame) == 5
        for row in frame[frame["head"] != "majority"].to_dict("records"):
            pair = (row["backbone"], row["head"]), ("b", "knn")
            assert (row["difference"], row["low"], row["high"]) == pytest.approx(inference.interval(*pair))
            assert row["p_value"] == pytest.approx(inference.p_value(*pair))
            assert row["verdict"] == inference.verdict(*pair)
        pd.testing.assert_frame_equal(comparison.differences("a/ridge"), comparison.differences())
        with pytest.raises(InputError, match="got 'c/knn' as the reference, expected one of"):
            comparison.differences("c/knn")


def test_near_duplicates_stay_on_one_side() -> None:
    X = vectors(1)
    # Each odd row is nearly the even one before it.
    X[1::2] = X[::2] * 1.001 + 1e-4
    y = np.repeat(Y[:30], 2)
    asked = {"heads": "ridge", "cosine": 0.99999, **HERE}
    near = compare(X, y, group="near", **asked)
    assert "near-duplicates (cosine 0.99999) on one side" in near.table["protocol_text"]
    folds = near.predictions().sort_values("ImgId")["fold"].to_numpy()
    assert (folds[::2] == folds[1::2]).all()
    exact = compare(X, y, **asked)
    folds = exact.predictions().sort_values("ImgId")["fold"].to_numpy()
    assert not (folds[::2] == folds[1::2]).all()


def test_near_duplicates_of_a_store_are_grouped_as_by_the_command_line(store: FeatureStore) -> None:
    found = compare(store, heads="ridge", backbones="a", group="near", hash_distance=0, cosine=0.9999, **HERE)
    text = "near-duplicates (0 bits of the perceptual hash, cosine 0.9999) on one side"
    assert text in found.table["protocol_text"]


def test_across_domains_of_a_view_and_of_arrays(store: FeatureStore) -> None:
    asked = {"heads": ["ridge"], "protocol": "across", **HERE}
    stored = compare(store, view="aged", by="decade", backbones="a", **asked)
    given = compare({"a": vectors(1)}, Y, by=DECADES, **{**asked, "protocol": Protocol("across", folds=3)})
    for comparison in (stored, given):
        assert comparison.table["across"]["domains"] == ["1980", "1990"]
        assert "learned from" in repr(comparison)
    assert given.table["across"]["rows"] == stored.table["across"]["rows"]
    assert given.table["across"]["by"] == "domain"
    assert "Across domains" in given.to_html()
    newest = Comparison.load(store)
    assert newest.table["across"] == stored.table["across"]


def test_copies_are_told_of_and_kept_in_memory() -> None:
    X = np.concatenate([vectors(1), vectors(1)[:20]])
    y = np.concatenate([Y, Y[:20]])
    found = compare(X, y, heads=["ridge", "knn"], **HERE)
    groups = found.predictions().drop_duplicates("ImgId").sort_values("ImgId")["group"].to_numpy()
    assert (groups[:20] == groups[60:]).all()
    assert len(np.unique(groups)) == 60
    pd.testing.assert_frame_equal(found.differences("X/ridge"), found.differences()), "the same groups, read again"


def test_a_comparison_in_memory_keeps_every_table_of_the_bench(store: FeatureStore) -> None:
    compare(store, view="aged", by="decade", backbones="a", heads="ridge", protocol="across", **HERE)
    stored = {name for name in store.refresh().state.tables if name.startswith("bench_")}
    assert stored <= set(TABLES)


def test_what_does_not_fit_is_said_as_python_says_it(both: tuple[Comparison, Comparison], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = repr(both[1])
    assert "not shown for want of width" in text
    assert ".to_pandas() has all" in text.replace("\n  ", " ")
    assert "--wide" not in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"group": "all"}, "got 'all' as group, expected 'exact' or 'near'"),
        ({"group": "near", "hash_distance": 2}, "got hash_distance for arrays, which have no images"),
        ({"hash_distance": 65}, "got 65 as hash_distance, expected a whole number, 0 to 64"),
        ({"cosine": "much"}, "got 'much' as cosine, expected a number"),
        ({"cosine": 2}, "a cosine of 2.0, expected"),
        ({"by": DECADES}, "got by for the protocol cv: use protocol='across'"),
        ({"protocol": "across"}, "got the protocol across without by"),
        ({"protocol": "across", "by": "decade"}, "got str as by, expected a number, date or text for each row"),
        ({"protocol": "across", "by": DECADES[:9]}, r"by has the shape \(9,\)"),
        ({"protocol": "across", "by": [1980] * 60}, "got 1 value of the column 'domain'"),
        ({"rank_by": "speed"}, "got 'speed' to rank by, expected one of accuracy"),
        ({"rank_by": ["map"]}, r"got \['map'\] as rank_by, expected a name"),
        ({"rank_by": "map"}, "got 'map' to rank by, expected one of accuracy"),
        ({"reference": 3}, "got 3 as reference, expected a name"),
    ],
)
def test_a_fault_is_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    given = {"data": vectors(1), "y": Y, "heads": ["ridge"], **HERE, **arguments}
    with pytest.raises(InputError, match=sentence):
        compare(given.pop("data"), given.pop("y"), **given)


def test_faults_of_a_store_are_sentences(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got ndarray as by, expected the name of a column"):
        compare(store, by=DECADES, protocol="across", **HERE)
    with pytest.raises(InputError, match="has no column 'decade'"):
        compare(store, by="decade", protocol="across", **HERE)
