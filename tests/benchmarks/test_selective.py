"""Risk-coverage curves: against a count by hand, with ties, over repeats, and in the table."""

import numpy as np
import pytest
from bench_store import in_this_process, make_store

from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.report.tables import tables, tables_as_text
from benchmarks.results.breakdown import rows_of
from benchmarks.results.confidence import confidences
from benchmarks.results.risk_coverage import risk_curves
from benchmarks.results.selection import selected
from benchmarks.run import runner
from benchmarks.scores.selective import COVERAGE, mean_curve, risk_coverage
from featurestore import FeatureStore


def test_the_surest_are_counted() -> None:
    confidence = np.array([0.5, 0.9, 0.8, 0.6], np.float32)
    found = risk_coverage(confidence, np.array([False, True, True, False]))
    assert (found.surest_quarter, found.surest_half) == (1.0, 1.0)
    assert found.area == pytest.approx((0 + 0 + 1 / 3 + 2 / 4) / 4)
    assert found.risk[[24, 49, 74, 99]] == pytest.approx([0, 0, 1 / 3, 1 / 2])


def test_the_whole_is_the_share_of_errors() -> None:
    rng = np.random.default_rng(0)
    correct = rng.random(811) < 0.6
    found = risk_coverage(rng.random(811), correct)
    assert COVERAGE[-1] == 1.0
    assert found.risk[-1] == pytest.approx(1 - correct.mean())


def test_the_order_of_equally_sure_predictions_decides_nothing() -> None:
    rng = np.random.default_rng(1)
    confidence, correct = rng.integers(0, 5, 301) / 5, rng.random(301) < 0.7
    first = risk_coverage(confidence, correct)
    again = rng.permutation(301)
    second = risk_coverage(confidence[again], correct[again])
    assert (first.area, first.surest_half) == (second.area, second.surest_half)
    orders = []
    for _ in range(3000):
        shuffle = rng.permutation(301)
        order = shuffle[np.argsort(-confidence[shuffle], kind="stable")]
        orders.append((np.cumsum(~correct[order]) / np.arange(1, 302)).mean())
    assert first.area == pytest.approx(np.mean(orders), abs=4 * np.std(orders) / np.sqrt(3000))


def test_one_confidence_for_all_says_nothing() -> None:
    found = risk_coverage(np.full(10, 0.4), np.arange(10) < 3)
    assert found.risk == pytest.approx(0.7)
    assert (found.area, found.surest_half) == (pytest.approx(0.7), pytest.approx(0.3))


def test_one_prediction() -> None:
    assert risk_coverage(np.array([0.5]), np.array([True])).surest_quarter == 1.0


def test_the_mean_of_repeats() -> None:
    one = risk_coverage(np.array([0.9, 0.5]), np.array([True, False]))
    two = risk_coverage(np.array([0.9, 0.5]), np.array([False, True]))
    assert mean_curve([one, two]).surest_half == 0.5


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    store = make_store(tmp_path_factory.mktemp("surest"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.run.execution.computed", in_this_process)
        runner.run(store, heads=find(["majority", "knn"]), protocols=[Protocol("cv", folds=3, repeats=2)], cost=False)
    return store.refresh()


def test_the_table_has_what_the_predictions_say(bench: FeatureStore) -> None:
    (run,) = selected(bench)
    (table,) = tables(bench)
    predicted = rows_of(bench, run)
    for row in table["rows"]:
        one = predicted[row["backbone"], row["head"]]
        repeats = []
        for rows in (slice(0, 60), slice(60, 120)):  # the predictions come repeat by repeat
            assert len(set(one.ids[rows].tolist())) == 60
            repeats.append(
                risk_coverage(one.proba[rows].max(axis=1), one.proba[rows].argmax(axis=1) == one.y[rows]).surest_half
            )
        assert row["surest_half"] == pytest.approx(np.mean(repeats))
        assert 0 <= row["aurc"] <= 1
    assert "surest half" in tables_as_text([table], "markdown")
    assert "surest_half" in tables_as_text([table], "csv").splitlines()[0].split(",")


def test_a_repeat_that_is_not_whole_does_not_count(bench: FeatureStore) -> None:
    (run,) = selected(bench)
    fold = bench.sql("SELECT cell FROM bench_cells WHERE repeat = 1 AND fold = 0 AND head = 'knn' AND backbone = 'a'")
    lost = fold["cell"][0].as_py()
    fewer = risk_curves(confidences(bench, {**run, "cells": [cell for cell in run["cells"] if cell != lost]}))
    one = rows_of(bench, run)["a", "knn"]
    first = risk_coverage(one.proba[:60].max(axis=1), one.proba[:60].argmax(axis=1) == one.y[:60])
    assert fewer["a", "knn", 1.0].surest_half == first.surest_half


def test_several_labels_have_no_curve(bench: FeatureStore) -> None:
    (run,) = selected(bench)
    assert risk_curves(confidences(bench, {**run, "task": "multilabel"})) == {}
    assert risk_curves(confidences(bench, {**run, "cells": []})) == {}
