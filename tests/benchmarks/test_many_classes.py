"""A page of 200 classes: small, with the worst pairs in place of a matrix; figures of made-up predictions are right."""

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from support import jpeg, movie, write_metadata

from benchmarks.report.details import EXTREMES, MANY, PAIRS
from benchmarks.report.figures import figures
from benchmarks.report.page import write_html
from benchmarks.report.tables import tables
from benchmarks.results.breakdown import ImageVerdict, RowPredictions, rows_of, verdicts
from benchmarks.results.read import runs
from benchmarks.results.schemas import CELLS, PREDICTIONS, RUNS, SCORES
from benchmarks.scores.metrics import METRICS
from featurestore import FeatureStore

CLASSES, IMAGES, HEADS, REPEATS, FOLDS = 200, 800, ("knn", "lda", "majority"), 2, 2
NAMES = [f"<class> {place} " + "of a long name " * 4 for place in range(CLASSES)]


def made_up(classes: int, images: int, seed: int = 0) -> RowPredictions:
    rng = np.random.default_rng(seed)
    y = np.arange(images) % classes
    proba = rng.random((images, classes), dtype=np.float32)
    proba[np.arange(images), y] += 0.5
    return RowPredictions(np.arange(1, images + 1, dtype=np.int32), y, proba / proba.sum(axis=1, keepdims=True))


def predictions(cell: str, row: RowPredictions) -> pa.Table:
    columns = {"cell": [cell] * len(row.ids), "ImgId": row.ids, "y": row.y, "labels": [None] * len(row.ids)}
    return pa.Table.from_pydict({**columns, "proba": row.proba.tolist()}, schema=PREDICTIONS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """One image, and results of a run over 800 images of 200 classes."""
    folder = tmp_path_factory.mktemp("many")
    images = folder / "posters"
    images.mkdir()
    (images / "1.jpg").write_bytes(jpeg(1))
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", [movie(1, "Drama")]), images=images)
    now = datetime.now(UTC)
    cells, scores, predicted = [], [], []
    for number, head in enumerate(HEADS):
        row = made_up(CLASSES, IMAGES, number)
        for repeat, fold in np.ndindex(REPEATS, FOLDS):
            key, test = f"{head}-{repeat}-{fold}", row.ids % FOLDS == fold
            part = RowPredictions(row.ids[test], row.y[test], row.proba[test])
            predicted.append(predictions(key, part))
            values = {name: metric.function(part.y, part.proba) for name, metric in METRICS.items()}
            values |= {"fit_seconds": 0.1, "predict_ms": 0.1}
            scores += [{"cell": key, "metric": name, "score": value} for name, value in values.items()]
            cell = {
                "cell": key,
                "model": head,
                "run_id": "cv-1",
                "finished_at": now,
                "backbone": "vectors",
                "head": head,
            }
            cell |= {"revision": "r", "data_hash": "d", "repeat": repeat, "fold": fold, "size": 1.0, "seed": 0}
            counts = {"n_train": int((~test).sum()), "n_test": int(test.sum())}
            cells.append(cell | counts | {"split_hash": f"{repeat}-{fold}", "status": "ok", "synthetic": False})
    run = {"run_id": "cv-1", "started_at": now, "protocol": "cv", "protocol_text": "made up", "folds": FOLDS}
    run |= {"repeats": REPEATS, "task": "multiclass", "canary": False, "view": "labeled", "label": "Genre1"}
    run |= {"classes": NAMES, "class_counts": [IMAGES // CLASSES] * CLASSES, "seed": 0, "seeds": 1}
    run |= {
        "reference": "vectors/knn",
        "state_id": "s",
        "synthetic": False,
        "n_rows": IMAGES,
        "n_missing": 0,
        "leaks": 0,
    }
    run |= {"warnings": [], "libraries": "{}", "machine": "a machine", "cells": [cell["cell"] for cell in cells]}
    store.append(
        {
            "bench_runs": pa.Table.from_pylist([run], schema=RUNS),
            "bench_cells": pa.Table.from_pylist(cells, schema=CELLS),
            "bench_scores": pa.Table.from_pylist(scores, schema=SCORES),
            # The first cell was stored by two processes.
            "bench_predictions": pa.concat_tables([*predicted, predicted[0]]),
        }
    )
    return store


def test_the_page_is_small(store: FeatureStore, tmp_path: Path) -> None:
    write_html(store, tables(store), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert len(page) < 400_000
    assert "<class>" not in page
    assert "lowest of 200" in page
    assert f"and {CLASSES - 10} more" in page
    # Accuracy, differences by accuracy and log loss, cost, the surest images; two rows that learn in each of classes,
    # confusion and calibration.
    assert page.count("<svg") == 1 + 2 + 1 + 1 + 2 + 2 + 2
    for chart in re.findall(r'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 376 .*?</svg>', page, re.DOTALL):
        ElementTree.fromstring(chart)


def test_predictions_are_read_row_by_row(store: FeatureStore) -> None:
    found = rows_of(store, runs(store)[0])
    assert list(found) == [("vectors", head) for head in HEADS]
    assert ("vectors", "none") not in found
    for number, head in enumerate(HEADS):
        row, expected = found["vectors", head], made_up(CLASSES, IMAGES, number)
        assert len(row.ids) == REPEATS * IMAGES, "a cell that is stored twice counts once"
        assert (row.ids == found["vectors", head].ids).all()
        place = row.ids - 1
        assert (row.y == expected.y[place]).all()
        assert (row.proba == expected.proba[place]).all()
        assert row.per_class["support"].tolist() == [IMAGES // CLASSES] * CLASSES


def surest_wrong_first(one: ImageVerdict) -> float:
    return one.sure if one.predicted == one.truth else -one.sure


def test_verdicts_count_every_prediction_of_rows_that_learn(store: FeatureStore) -> None:
    judged = verdicts(rows_of(store, runs(store)[0]))
    right = np.mean(
        [made_up(CLASSES, IMAGES, n).proba.argmax(axis=1) == np.arange(IMAGES) % CLASSES for n in (0, 1)], 0
    )
    assert len(judged) == IMAGES
    assert judged == sorted(judged, key=lambda one: (one.right, surest_wrong_first(one), one.img_id))
    assert {one.img_id: one.right for one in judged} == {k + 1: pytest.approx(v) for k, v in enumerate(right)}
    assert all(one.truth == (one.img_id - 1) % CLASSES for one in judged)
    assert verdicts({}) == []


def drawn(row: RowPredictions, classes: list[str]) -> dict[str, list[str]]:
    run = {"task": "multiclass", "classes": classes}
    line = {"backbone": "b", "head": "knn", "published": False, "accuracy": 0.5, "interval": None, "failed": 0}
    table = {"protocol": "cv", "rows": [line | {"size": 1.0, "in_best_set": True}]}
    found = figures(run, table, {("b", "knn"): row}, floor=None, metric="accuracy")
    return {one["title"]: list(one["panels"]) for one in found}


def test_worst_pairs_and_extreme_classes() -> None:
    row = made_up(MANY, 40)
    # All images of class 3 are predicted as class 5, all others correctly.
    answers = np.where(row.y == 3, 5, row.y)
    sure = RowPredictions(row.ids, row.y, np.eye(MANY, dtype=np.float32)[answers])
    found = drawn(sure, [f"c{place}" for place in range(MANY)])
    count = int((row.y == 3).sum())
    (pairs,) = found["Confusion"]
    assert f"<title>c3 → c5: {count} of {count} (100%)</title>" in pairs
    assert pairs.count(" → ") == 2, "one pair, as text and on hover"
    assert f"predictions, 100% of all {count} wrong ones" in pairs
    (by_class,) = found["Classes"]
    assert f"<title>c3 ({count}): 0.000</title>" in by_class
    assert by_class.count("<rect") == MANY, "few enough to show all"
    assert (
        "Every prediction is right."
        in drawn(RowPredictions(row.ids, answers, sure.proba), ["c"] * MANY)["Confusion"][0]
    )


def test_of_many_only_the_extremes() -> None:
    found = drawn(made_up(CLASSES, IMAGES), NAMES)
    assert found["Classes"][0].count("<rect") == 2 * EXTREMES
    assert found["Confusion"][0].count("<rect") == PAIRS
    pairs = re.findall(r"<title>(.*?)</title><text [^>]*>(?:<title>.*?</title>)?(.*?)</text>", found["Confusion"][0])
    assert len(pairs) == PAIRS
    for whole, short in pairs:
        assert re.fullmatch(r"&lt;class&gt; \d+ of a[^…]* → &lt;class&gt; \d+ of a[^…]*: \d of 4 \(\d+%\)", whole)
        assert re.fullmatch(r"&lt;class&gt; \d+ of[^…]*… → &lt;class&gt; \d+ of[^…]*…", short), "both are seen"
    assert found == drawn(made_up(CLASSES, IMAGES), NAMES)


def test_few_classes_keep_their_matrix() -> None:
    found = drawn(made_up(MANY - 1, 44), [f"c{place}" for place in range(MANY - 1)])
    assert len(found["Classes"]) == 3
    assert "predicted as, % of the true class" in found["Confusion"][0]
