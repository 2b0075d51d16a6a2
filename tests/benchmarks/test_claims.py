"""The sentences of a table and a report: each claim stands only where its test says so."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from benchmarks.report.claims import answer, floor_score
from benchmarks.report.formats import signs
from benchmarks.report.tables import notes
from benchmarks.scores.inference import Results, infer
from benchmarks.scores.significance import annotate, smallest_seen

N, FOLDS, NAMED = 1000, 5, 440
CLAIMS = ("better", "worse", "different", "winner", "≈")


def right(*, share: float, seed: int) -> np.ndarray:
    """A head that has ``share`` of each fold right, which rows by ``seed``."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(N // FOLDS) < round(share * N / FOLDS) for _ in range(FOLDS)])


def table(
    rows: Mapping[tuple[str, str], np.ndarray],
    *,
    with_floor: bool = True,
    task: str = "multiclass",
    reference: tuple[str, str] | None = None,
) -> Any:
    """A table as `report.tables` makes it, of what each row had right."""
    folds = np.repeat(np.arange(FOLDS), N // FOLDS)[None]
    values = {row: one[None].astype(float) for row, one in rows.items()}
    if with_floor and task == "multiclass" and not any(head == "majority" for _, head in rows):
        values["", "majority"] = right(share=NAMED / N, seed=99)[None].astype(float)
    if task == "multilabel":
        values = {row: one.reshape(1, FOLDS, -1).mean(axis=2) for row, one in values.items()}
    made = Results(values, folds, np.arange(N), 0.25, binary=task == "multiclass", by_split=task == "multilabel")
    found = infer(made, left_out=[row for row in values if row[1] == "majority"])
    metric = {"multiclass": "accuracy", "multilabel": "map"}[task]
    shown: list[dict[str, Any]] = [
        {"backbone": backbone, "head": head, metric: float(one.mean()), "size": 1.0, "cells": 5, "failed": 0}
        | {"interval": [0.1, 0.9], "published": False}
        for (backbone, head), one in rows.items()
    ]
    shown.sort(key=lambda row: -row[metric])
    named = reference or next(iter(rows), None)
    annotate(shown, found, reference=named)
    described = {"protocol": "cv", "protocol_text": "five folds", "n_rows": N, "view": "labeled", "label": "Genre1"}
    described |= {"synthetic": False, "n_missing": 0, "task": task, "warnings": [], "rank_by": metric}
    described |= {"smallest_seen": smallest_seen(found, named)}
    return described | {"class_counts": [NAMED, 400, 160], "rows": shown}


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
    assert said(made).startswith(
        f"None of the {copies} rows is significantly better than any other on 1,000 images; head_0 over b: "
    )
    assert [signs(row).strip("R") for row in made["rows"]] == ["≈"] * copies
    assert f"≈: the set of best rows by accuracy, {copies} of {copies}, at 95 % confidence" in notes(made)


@pytest.mark.parametrize("with_row", [True, False])
def test_a_clear_winner_is_called_one(with_row: bool) -> None:
    rows = {("b", "knn"): right(share=0.8, seed=1), ("b", "ridge"): right(share=0.6, seed=2)}
    made = table(rows | dict([FLOOR]) if with_row else rows)
    which = "every other row that learns" if with_row else "every other row"
    assert said(made).startswith(f"knn over b is significantly better than {which} on 1,000 images: accuracy 0.8")
    assert [signs(row) for row in made["rows"][:2]] == ["≈R", ""]
    assert "≈: knn over b is significantly better than every other row" in notes(made)


def test_no_single_winner_is_called_one() -> None:
    rows = {("b", "knn"): right(share=0.62, seed=1), ("b", "ridge"): right(share=0.6, seed=2)}
    rows[("b", "lda")] = right(share=0.3, seed=3)
    made = table(rows | dict([FLOOR]))
    assert said(made).startswith(
        "There is no single winner on 1,000 images: the set of best rows, at 95 % confidence, holds 2 of 3; the first "
        "is knn over b, accuracy 0.620"
    )
    assert "≈: the set of best rows by accuracy, 2 of 3, at 95 % confidence" in notes(made)


def test_a_winner_that_does_not_beat_the_most_frequent_class() -> None:
    rows = {("b", "knn"): right(share=0.46, seed=1), ("b", "ridge"): right(share=0.2, seed=2)}
    text = said(table(rows | dict([FLOOR])))
    assert "better than every other row that learns" in text
    assert "not significantly different from it (+0.020" in text


def test_what_is_not_compared_makes_no_winner() -> None:
    made = table({("b", "knn"): right(share=0.8, seed=1), ("b", "ridge"): right(share=0.3, seed=2)})
    for row in made["rows"]:
        row |= {"rank": None, "in_best_set": False}
    assert "better than" not in said(made)
    assert "no difference from it could be tested" in said(made)
    assert "differences are not tested: one split, and accuracy is no mean over images" in notes(made)


def test_the_reference_is_named() -> None:
    made = table({("b", "knn"): right(share=0.8, seed=1), ("b", "ridge"): right(share=0.3, seed=2)})
    assert "vs ref.: accuracy against b knn (R)" in notes(made)
    made["rows"][1]["difference"] = None
    assert not any(line.startswith("vs ref.") for line in notes(made))


def test_the_smallest_difference_that_could_have_been_seen_is_said_with_the_images_that_a_point_needs() -> None:
    made = table({("b", "knn"): right(share=0.6, seed=1), ("b", "ridge"): right(share=0.6, seed=2)})
    smallest = made["smallest_seen"]
    (note,) = [line for line in notes(made) if "would probably not have been seen" in line]
    assert f"a difference of accuracy from R below {smallest:.3f}" in note
    needed = int(note.rpartition("about ")[2].split()[0].replace(",", ""))
    assert needed == pytest.approx(N * (smallest / 0.01) ** 2, rel=0.06)
    made["smallest_seen"] = 0.005
    assert "needs" not in "".join(notes(made))


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
    assert "≈: knn over b is significantly better than every other row" in notes(made)
    assert "most frequent class" not in said(made, "map")


def test_no_row_no_claim() -> None:
    assert said(table({})) == "No head finished."
    assert not any(word in note for note in notes(table({})) for word in CLAIMS)
