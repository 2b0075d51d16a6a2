"""What to do after a comparison: which row to take, what it never predicts, backbone beside head."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from made_heads import drawn

from benchmarks.report.advice import advice, cheapest
from benchmarks.results.breakdown import RowPredictions
from benchmarks.scores.factors import Factors, Spread, factors
from benchmarks.scores.inference import infer

CLASSES = ("cat", "dog", "hen")


def row(head: str, *, best: bool, seconds: float | None, alone: float | None = None) -> dict[str, Any]:
    return {"backbone": "b", "head": head, "in_best_set": best, "fit_seconds": seconds, "cost_fit_seconds": alone}


def table(**changes: Any) -> dict[str, Any]:
    return {"rank_by": "accuracy", "n_rows": 400, "smallest_seen": None, "factors": None} | changes


def predictions(*predicted: int) -> RowPredictions:
    """One image of each of ``predicted``, of the classes 0, 1, 2, 0, 1, 2, …"""
    truth = np.arange(len(predicted)) % 3
    return RowPredictions(np.arange(len(predicted)), truth, np.eye(3, dtype=np.float32)[list(predicted)])


def test_the_cheapest_of_the_set_of_best_rows_is_named() -> None:
    rows = [
        row("slow", best=True, seconds=2.0),
        row("quick", best=True, seconds=0.004),
        row("bad", best=False, seconds=0.0),
    ]
    assert advice(table(), rows, {}, CLASSES) == [
        "Take quick over b, the cheapest of the set of best rows: one fit takes 4.0 ms, that of slow over b, the first "
        "of the table, 2.00 s."
    ]


def test_costs_that_were_measured_alone_decide_where_all_were() -> None:
    first, second = row("a", best=True, seconds=1.0, alone=0.2), row("b", best=True, seconds=0.5, alone=0.3)
    assert cheapest([first, second]) is first
    assert cheapest([first, row("b", best=True, seconds=0.5)]) is not first, "one was measured within the run alone"
    assert cheapest([row("a", best=True, seconds=None)]) is None
    assert cheapest([row("a", best=False, seconds=1.0)]) is None, "nothing was compared"


def test_one_best_row_is_simply_taken() -> None:
    rows = [row("only", best=True, seconds=0.5), row("bad", best=False, seconds=0.1)]
    assert advice(table(), rows, {}, CLASSES) == ["Take only over b: one fit takes 0.50 s."]


def test_what_learns_nothing_is_no_bargain() -> None:
    rows = [
        row("zero_shot", best=True, seconds=0.0) | {"accuracy": 0.7},
        row("knn", best=True, seconds=0.5) | {"accuracy": 0.69},
        row("slow", best=True, seconds=2.0) | {"accuracy": 0.68},
    ]
    assert advice(table(), rows, {}, CLASSES) == [
        "Take knn over b, the cheapest of the set of best rows that learn: one fit takes 0.50 s.",
        "zero_shot over b, which learns nothing from the labels, has accuracy 0.700: no row that learns from them is "
        "significantly better.",
    ]
    rows[0] |= {"in_best_set": False, "accuracy": 0.5}
    assert advice(table(), [*rows[1:], rows[0]], {}, CLASSES)[1] == (
        "zero_shot over b, which learns nothing from the labels, has accuracy 0.500: learning from them gains 0.190."
    )


def test_what_learns_nothing_is_taken_where_nothing_else_is_as_good() -> None:
    rows = [
        row("zero_shot", best=True, seconds=0.0) | {"accuracy": 0.9},
        row("knn", best=False, seconds=0.5) | {"accuracy": 0.6},
    ]
    assert advice(table(), rows, {}, CLASSES)[0] == (
        "Take zero_shot over b: it needs no labels, and no row that learns from them is as good."
    )


def test_classes_that_are_never_predicted_are_named_with_their_images() -> None:
    rows = [row("knn", best=False, seconds=0.5)]
    predicted = {("b", "knn"): predictions(0, 1, 0, 0, 1, 1)}
    assert advice(table(), rows, predicted, CLASSES) == [
        "knn over b never predicts hen (2 images), which its accuracy does not show."
    ]
    predicted = {("b", "knn"): predictions(0, 1, 2)}
    assert advice(table(), rows, predicted, CLASSES) == []


def test_the_most_frequent_class_is_no_advice() -> None:
    assert advice(table(), [row("majority", best=False, seconds=0.0)], {}, CLASSES) == []


@pytest.mark.parametrize(
    ("significant", "said"), [(True, "clip over pixels, significantly"), (False, "not significantly")]
)
def test_backbone_beside_head(significant: bool, said: str) -> None:
    found = Factors(Spread("clip", "pixels", 0.2, significant), Spread("ridge", "knn", 0.01, False))
    (sentence,) = advice(table(factors=asdict(found)), [row("knn", best=False, seconds=0.5)], {}, CLASSES)
    assert sentence.startswith("Averaged over heads, the backbones differ by up to 0.200 (clip over pixels, ")
    assert said in sentence
    assert "the heads by up to 0.010 (ridge over knn, not significantly), in accuracy." in sentence


def test_what_a_larger_set_would_show() -> None:
    (sentence,) = advice(table(smallest_seen=0.04), [row("knn", best=False, seconds=0.5)], {}, CLASSES)
    assert sentence.endswith("one of 0.01 needs about 6,400 images.")


def grid(chances: dict[tuple[str, str], float]) -> Any:
    made = drawn(np.random.default_rng(0), list(chances.values()), repeats=2)
    return type(made)(dict(zip(chances, made.values.values(), strict=True)), made.folds, made.groups, 0.25, binary=True)


def test_backbones_are_averaged_over_heads_and_heads_over_backbones() -> None:
    chances = {(b, h): 0.5 + 0.12 * (b == "clip") for b in ("clip", "pixels") for h in ("knn", "ridge", "lda")}
    results = grid(chances)
    found = factors(results, infer(results))
    assert found is not None
    means = {row: one.mean() for row, one in results.values.items()}
    by_backbone = {b: np.mean([means[b, h] for h in ("knn", "ridge", "lda")]) for b in ("clip", "pixels")}
    assert (found.backbones.best, found.backbones.worst) == ("clip", "pixels")
    assert found.backbones.difference == pytest.approx(by_backbone["clip"] - by_backbone["pixels"], abs=1e-3)
    assert found.backbones.significant
    assert found.heads.difference < 0.05
    assert not found.heads.significant


def test_no_grid_no_factors() -> None:
    one = grid({("clip", "knn"): 0.6, ("clip", "ridge"): 0.5})
    assert factors(one, infer(one)) is None
    gap = grid({("clip", "knn"): 0.6, ("clip", "ridge"): 0.5, ("pixels", "knn"): 0.6, ("pixels", "lda"): 0.5})
    assert factors(gap, infer(gap)) is None, "one head alone is over both"
