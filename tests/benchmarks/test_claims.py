"""The sentences of a table and a report: each claim stands only where its test says so."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.report.claims import answer, floor_score
from benchmarks.report.formats import signs
from benchmarks.report.tables import notes
from benchmarks.scores.significance import Scores, annotate

N, FOLDS, NAMED = 1000, 5, 440
CLAIMS = ("better", "worse", "different", "winner", "≈")


def right(*, share: float, seed: int) -> np.ndarray:
    """A head that has ``share`` of each fold right, which rows by ``seed``."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(N // FOLDS) < round(share * N / FOLDS) for _ in range(FOLDS)])


def table(rows: Mapping[tuple[str, str], np.ndarray], *, with_floor: bool = True, task: str = "multiclass") -> Any:
    """A table as `report.tables` makes it, of what each row had right."""
    splits = {row: values.reshape(FOLDS, -1).mean(axis=1) for row, values in rows.items()}
    named = right(share=NAMED / N, seed=99)
    floor = (named.reshape(FOLDS, -1).mean(axis=1), named[None])
    found = Scores(
        splits,
        right={row: values[None] for row, values in rows.items()} if task == "multiclass" else {},
        test_share=0.25,
        repeats=1,
        floor=floor if with_floor and task == "multiclass" else None,
    )
    metric = {"multiclass": "accuracy", "multilabel": "map"}[task]
    made: list[dict[str, Any]] = [
        {"backbone": backbone, "head": head, metric: float(values.mean()), "size": 1.0, "cells": 5, "failed": 0}
        | {"interval": [0.1, 0.9], "published": False}
        for (backbone, head), values in rows.items()
    ]
    made.sort(key=lambda row: -row[metric])
    annotate(made, found, reference=next(iter(rows), None))
    described = {"protocol": "cv", "protocol_text": "five folds", "n_rows": N, "view": "labeled", "label": "Genre1"}
    described |= {"synthetic": False, "n_missing": 0, "task": task, "warnings": []}
    return described | {"class_counts": [NAMED, 400, 160], "rows": made}


def said(made: dict[str, Any], metric: str = "accuracy") -> str:
    return answer(made, made["rows"], floor=floor_score(made, made["rows"], metric), metric=metric)


FLOOR = ("b", "majority"), right(share=NAMED / N, seed=99)


def test_one_row_states_its_score_and_whether_it_is_better_than_the_most_frequent_class() -> None:
    made = table({("b", "knn"): right(share=0.6, seed=1)})
    assert said(made) == (
        "knn over b, on 1,000 images: accuracy 0.600 (95 % interval 0.100 to 0.900). "
        "The most frequent class alone gives 0.440; knn over b gains +0.160 (p < 0.001)."
    )
    assert signs(made["rows"][0]) == "R"
    assert "the most frequent class alone gives 0.440; knn over b gains +0.160 (p < 0.001)" in notes(made)
    assert not any(word in note for note in notes(made) for word in ("≈", "Holm", "every other"))


@pytest.mark.parametrize("with_row", [True, False])
@pytest.mark.parametrize(("share", "difference"), [(0.445, "+0.005"), (0.435, "-0.005"), (0.42, "-0.020")])
def test_a_row_that_is_no_better_than_the_most_frequent_class(share: float, difference: str, with_row: bool) -> None:
    rows = {("b", "knn"): right(share=share, seed=1)}
    made = table(rows | dict([FLOOR]) if with_row else rows)
    text = said(made)
    assert "gains" not in text
    assert "better" not in text
    assert f"knn over b is not significantly different from it ({difference}, p = " in text
    majority = next((row for row in made["rows"] if row["head"] == "majority"), None)
    if majority:
        assert signs(majority) == "≈", "not excluded by its own test"
        assert any("2 rows (≈) are not significantly different" in note for note in notes(made))


@pytest.mark.parametrize("with_row", [True, False])
def test_a_row_that_is_worse_than_the_most_frequent_class(with_row: bool) -> None:
    rows = {("b", "knn"): right(share=0.2, seed=1), ("b", "ridge"): right(share=0.2, seed=2)}
    made = table(rows | dict([FLOOR]) if with_row else rows)
    assert "the best row is significantly worse (-0.240, p < 0.001)" in said(made)
    assert all(signs(row) == "" for row in made["rows"] if row["head"] == "majority")


@pytest.mark.parametrize("copies", [2, 5])
def test_rows_that_are_all_equal_have_no_winner(copies: int) -> None:
    same = right(share=0.6, seed=1)
    made = table({("b", f"head_{number}"): same for number in range(copies)})
    assert said(made).startswith(f"All {copies} rows have the same accuracy 0.600 (95 % interval")
    assert [signs(row).strip("R") for row in made["rows"]] == ["≈"] * copies
    assert "every other" not in said(made)
    assert said(table({("b", "knn"): same, ("c", "knn"): same} | dict([FLOOR]))).startswith("All 2 rows that learn ")


def test_a_clear_winner_is_called_one() -> None:
    rows = {("b", "knn"): right(share=0.8, seed=1), ("b", "ridge"): right(share=0.6, seed=2)}
    made = table(rows | dict([FLOOR]))
    assert said(made).startswith(
        "knn over b is significantly better than every other row on 1,000 images: accuracy 0.8"
    )
    assert [signs(row) for row in made["rows"]] == ["R", "", ""], "≈ stands for an equal"
    assert any(note.startswith("the best row is significantly better than every other (") for note in notes(made))


def test_no_single_winner_is_called_one() -> None:
    rows = {("b", "knn"): right(share=0.62, seed=1), ("b", "ridge"): right(share=0.6, seed=2)}
    rows[("b", "lda")] = right(share=0.3, seed=3)
    made = table(rows | dict([FLOOR]))
    text = (
        "There is no single winner: 2 of 4 rows are not significantly different from the highest, knn over b, accuracy"
    )
    assert said(made).startswith(text)
    test = "corrected resampled t-test with moderated variance, Holm over all pairs"
    assert f"2 rows (≈) are not significantly different from the best ({test})" in notes(made)


def test_a_winner_that_does_not_beat_the_most_frequent_class() -> None:
    rows = {("b", "knn"): right(share=0.46, seed=1), ("b", "ridge"): right(share=0.2, seed=2)}
    text = said(table(rows | dict([FLOOR])))
    assert "better than every other row that learns" in text
    assert "not significantly different from it (+0.020" in text


def test_a_row_that_is_not_compared_makes_no_winner() -> None:
    made = table({("b", "knn"): right(share=0.8, seed=1), ("b", "ridge"): right(share=0.3, seed=2)})
    made["rows"][1]["p_best"] = None
    assert "better than" not in said(made)
    assert "no difference from it could be tested" in said(made)


@pytest.mark.parametrize(("field", "note"), [("p_holm", "vs ref.: against b knn (R)"), ("difference", None)])
def test_the_reference_is_explained_as_far_as_it_was_compared(field: str, note: str | None) -> None:
    made = table({("b", "knn"): right(share=0.8, seed=1), ("b", "ridge"): right(share=0.3, seed=2)})
    assert any(line.startswith("vs ref., p: against b knn (R), corrected") for line in notes(made))
    made["rows"][1]["p_holm"] = made["rows"][1][field] = None
    assert next((line for line in notes(made) if line.startswith("vs ref.")), None) == note


def test_the_most_frequent_class_alone_is_no_head() -> None:
    made = table(dict([FLOOR]))
    assert said(made) == "Only the most frequent class was tried: accuracy 0.440 (95 % interval 0.100 to 0.900)."
    assert "the most frequent class alone gives 0.440" in notes(made)
    assert signs(made["rows"][0]) == "R"


def test_without_a_test_the_most_frequent_class_has_its_score_from_the_class_counts() -> None:
    made = table({("b", "knn"): right(share=0.6, seed=1)}, with_floor=False)
    assert said(made).endswith("The most frequent class alone gives 0.440.")
    assert "the most frequent class alone gives 0.440" in notes(made)


def test_several_labels_are_tested_by_their_splits() -> None:
    rows = {("b", "knn"): right(share=0.8, seed=1), ("b", "ridge"): right(share=0.6, seed=2)}
    made = table(rows, task="multilabel")
    assert "(corrected resampled t-test, Holm over all pairs)" in notes(made)[1]
    assert "most frequent class" not in said(made, "map")


def test_no_row_no_claim() -> None:
    assert said(table({})) == "No head finished."
    assert not any(word in note for note in notes(table({})) for word in CLAIMS)
