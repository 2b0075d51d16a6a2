"""Predictions from elsewhere: every form of table becomes the same arrays, every fault is one sentence."""

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from benchmarks.api.predictions import from_table
from benchmarks.scores.metrics import TASKS
from featurestore.errors import InputError

CLASSES = ("cat", "dog", "hen")


def made(rows: int = 2, repeats: int = 2, n: int = 6) -> dict[str, list[Any]]:
    """A table with lists of probabilities, its lines in no order."""
    rng = np.random.default_rng(0)
    lines = []
    for row in range(rows):
        for repeat in range(repeats):
            for one in range(n):
                proba = rng.dirichlet(np.ones(3)).tolist()
                y = CLASSES[one % 3]
                lines.append((f"row{row}", f"img{one}", y, repeat, (one + repeat) % 2, one // 2, proba))
    names = ("row", "id", "y", "repeat", "fold", "group", "proba")
    order = rng.permutation(len(lines))
    return {name: [lines[place][k] for place in order] for k, name in enumerate(names)}


def columns(table: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same with a column for each class, in another order."""
    found = {name: values for name, values in table.items() if name != "proba"}
    for name in ("hen", "cat", "dog"):
        found[f"proba_{name}"] = [one[CLASSES.index(name)] for one in table["proba"]]
    return found


@pytest.mark.parametrize("form", [dict, pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize("wide", [False, True])
def test_every_form_of_a_table_gives_the_scores_of_its_rows(form: Any, wide: bool) -> None:
    table = made()
    found = from_table(form(columns(table) if wide else table))
    assert found.classes == (("hen", "cat", "dog") if wide else CLASSES)
    assert found.ids.tolist() == [f"img{one}" for one in range(6)]
    assert [found.classes[code] for code in found.y] == [CLASSES[one % 3] for one in range(6)]
    assert found.groups is not None
    assert found.groups.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.folds is not None
    assert found.folds.tolist() == [[0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0]]
    assert (set(found.rows), found.repeats) == ({"row0", "row1"}, 2)
    frame = pd.DataFrame(table)
    for name, row in found.rows.items():
        assert row.log_loss is not None
        assert row.correct.shape == row.log_loss.shape == (2, 6)
        for repeat in range(2):
            own = frame[(frame["row"] == name) & (frame["repeat"] == repeat)].sort_values("id")
            y = np.array([CLASSES.index(one) for one in own["y"]])
            proba = np.array(own["proba"].tolist())
            assert row.correct[repeat].tolist() == (proba.argmax(axis=1) == y).tolist()
            expected = TASKS["multiclass"]["log_loss"].function(y, proba)
            assert row.log_loss[repeat].mean() == pytest.approx(expected, abs=1e-9)


def test_classes_alone_and_names_of_two_columns() -> None:
    found = from_table(
        {
            "backbone": ["clip", "clip", "dino", "dino"],
            "head": ["knn"] * 4,
            "ImgId": [7, 3, 3, 7],
            "y": [1, 0, 0, 1],
            "predicted": [1, 1, 0, 1],
        }
    )
    assert {name: row.correct.tolist() for name, row in found.rows.items()} == {
        "clip/knn": [[0.0, 1.0]],
        "dino/knn": [[1.0, 1.0]],
    }
    assert (found.ids.tolist(), found.groups, found.folds) == ([3, 7], None, None)
    assert all(row.log_loss is None for row in found.rows.values())


def test_a_class_that_no_line_has_keeps_its_place_by_number() -> None:
    found = from_table({"row": ["a", "a"], "id": [1, 2], "y": [0, 2], "proba": [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]]})
    assert found.classes == ("0", "1", "2")
    assert found.rows["a"].correct.tolist() == [[1.0, 0.0]]


def changed(**new: Any) -> dict[str, Any]:
    return {name: values for name, values in {**made(1, 1, 3), **new}.items() if values is not None}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (3, "got int as the predictions"),
        ({}, "have no row"),
        ({"row": [], "id": [], "y": [], "predicted": []}, "have no row"),
        (changed(row=["a"]), "have 1, 3 rows"),
        (changed(row=None), "no column 'row'"),
        (changed(id=None), "no column 'id'"),
        (changed(y=None), "no column 'y'"),
        (changed(y=["a", None, "b"]), "'y' of the predictions has no value in row 1"),
        (changed(y=["a", 1, "b"]), "mixes texts and numbers"),
        (changed(id=[1, 1, 2]), "predicts the id '1' 2 times in repeat 0, expected once"),
        (changed(row=["a", "a", "b"], id=[1, 2, 1]), "'b' predicts the id '2' 0 times"),
        (changed(proba=None), "neither a column `proba`"),
        (changed(proba=[[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.5, 0.5]]), "have 2 to 3 values"),
        (changed(proba=[[0.5, 0.5, 0.5]] * 3), r"3 of 3 predictions are no probabilities \(the first sums to 1.5\)"),
        (changed(proba=[[float("nan"), 0.5, 0.5]] * 3), "are no probabilities"),
        (changed(proba=[["a", "b", "c"]] * 3), "what is no number"),
        (changed(proba=[[0.5, 0.5]] * 3), "3 different values and `proba` 2 probabilities"),
        (changed(proba=None, proba_cat=[1.0] * 3, proba_dog=[0.0] * 3), "y is 'hen', a class without a column"),
        (
            {"row": ["a", "b"], "id": [1, 1], "y": ["x", "y"], "predicted": ["x", "y"]},
            "y of the id '1' differs between lines",
        ),
        (
            {"row": ["a", "b"], "id": [1, 1], "y": ["x", "x"], "predicted": ["x", "y"], "group": [1, 2]},
            "the group of the id '1' differs",
        ),
    ],
)
def test_a_fault_is_one_sentence(table: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        from_table(table)
