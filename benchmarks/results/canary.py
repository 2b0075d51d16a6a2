"""The canary: scores of heads on shuffled labels, and whether any of them is better than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.breakdown import Row
from benchmarks.results.read import comparison, predictions, primary, runs
from benchmarks.scores.correction import holm
from benchmarks.scores.inference import ALPHA
from featurestore import FeatureStore

# Enough that one row can be significant after Holm's correction over a hundred rows.
PERMUTATIONS = 1999


@dataclass(frozen=True)
class CanaryResult:
    """The score of a head on shuffled labels; ``p_holm`` is the p value against chance, after Holm's correction.

    ``score`` is the task's first ``metric``, ``chance`` its expected value by chance; None where the head failed.
    """

    backbone: str
    head: str
    metric: str
    score: float | None
    chance: float | None
    p_holm: float | None

    @property
    def leaks(self) -> bool:
        """Whether it is better than chance."""
        return self.p_holm is not None and self.p_holm < ALPHA


def canary_results(store: FeatureStore, run_id: str) -> list[CanaryResult]:
    """Each row of a canary run against chance: `_by_majority`, or `_by_permutation` where rows have several labels."""
    run = next(run for run in runs(store, canary=True) if run["run_id"] == run_id)
    metric = primary(run)
    rows = {(row["backbone"], row["head"]): row for row in comparison(store, run)}
    if run["task"] == "multiclass":
        rate = max(run["class_counts"]) / run["n_rows"]
        chance = dict.fromkeys(rows, rate)
        p_values = {name: _by_majority(row, rate) for name, row in rows.items() if row[metric] is not None}
    else:
        found = _by_permutation(store, run)
        chance = {name: luck for name, (luck, _) in found.items()}
        p_values = {name: p_value for name, (_, p_value) in found.items()}
    adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return [
        CanaryResult(*name, metric, row[metric], chance.get(name), adjusted.get(name)) for name, row in rows.items()
    ]


def canary_lines(results: Sequence[CanaryResult]) -> list[str]:
    """The results for a person: chance once where it is the same for all, else in each line."""
    same = len({result.chance for result in results}) == 1 and results[0].chance is not None
    lines = [f"labels shuffled; chance is {results[0].chance:.3f}" if same else "labels shuffled"]
    for result in results:
        text = "FAILED TO RUN"
        if result.score is not None:
            beside = "" if same else f"  chance {result.chance:.3f}"
            verdict = "  LEAK: better than chance" if result.leaks else ""
            text = f"{result.score:.3f}{beside}  p {result.p_holm:.3f}{verdict}"
        lines.append(f"{result.backbone:<24}{result.head:<24}{text}")
    return lines


def _by_majority(row: dict[str, Any], rate: float) -> float:
    """The p value of a row against the ``rate`` of the most frequent class (one-sided binomial test).

    With nothing to learn no head can exceed that rate, and the test rows of all folds are each predicted once.
    """
    from scipy.stats import binomtest

    return float(binomtest(round(row["accuracy_pooled"] * row["n_test"]), row["n_test"], rate, "greater").pvalue)


def _by_permutation(store: FeatureStore, run: dict[str, Any]) -> dict[Row, tuple[float, float]]:
    """Chance and p value of each row that has a score, see `permutation_test`."""
    table, classes = predictions(store, run).to_pandas(), len(run["classes"])
    return {
        (str(backbone), str(head)): permutation_test(
            [_fold(part, classes) for _, part in rows.groupby(["repeat", "fold"])], seed=run["seed"]
        )
        for (backbone, head), rows in table.groupby(["backbone", "head"])
    }


def permutation_test(
    folds: Sequence[tuple[NDArray[np.bool_], NDArray[np.float32]]], *, seed: int
) -> tuple[float, float]:
    """The mean average precision that chance gives, and the one-sided p value of the one that was scored.

    The label rows of each test part are permuted among its images while the predictions stay: with shuffled labels
    every such order is as likely as the one that was scored (Ojala and Garriga, Journal of Machine Learning Research
    11, 2010). The p value counts the scored order too, so that it is never too small (Phipson and Smyth, Statistical
    Applications in Genetics and Molecular Biology 9, 2010). Chance is the mean over the orders: the rate of the labels,
    and somewhat more in small test parts.

    Parameters
    ----------
    folds
        Labels and probabilities of each test part, ``(n, n_labels)``.
    """
    rng = np.random.default_rng(seed)
    scored = np.mean([mean_average_precision(y[None], proba)[0] for y, proba in folds])
    by_chance = np.mean([_permuted_scores(y, proba, rng) for y, proba in folds], axis=0)
    # Orders that are equal for the score must count as such, whatever the order of their additions.
    as_high = int((by_chance >= scored - 1e-12).sum())
    return float(by_chance.mean()), (1 + as_high) / (1 + PERMUTATIONS)


def _fold(part: Any, classes: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Labels and probabilities of one test part, each ``(n, classes)``."""
    y = np.zeros((len(part), classes), bool)
    for row, labels in enumerate(part["labels"]):
        y[row, labels] = True
    return y, np.stack(part["proba"].to_list()).astype(np.float32)


def _permuted_scores(y: NDArray[np.bool_], proba: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float64]:
    """``(PERMUTATIONS,)``: the score of each order, a few orders at a time so that memory stays small."""
    few = max(1, 4_000_000 // y.size)
    found = []
    for start in range(0, PERMUTATIONS, few):
        count = min(few, PERMUTATIONS - start)
        orders = rng.permuted(np.tile(np.arange(len(y)), (count, 1)), axis=1)
        found.append(mean_average_precision(y[orders], proba))
    return np.concatenate(found)


def mean_average_precision(y: NDArray[np.bool_], proba: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(k,)``: the metric ``map`` of ``proba`` ``(n, classes)`` for each of ``k`` labellings ``(k, n, classes)``.

    Rows of equal probability are one step of the curve, as in scikit-learn; labels without a row have no say.
    """
    scores = []
    for label in range(y.shape[2]):
        order = np.argsort(-proba[:, label], kind="stable")
        truth, ranked = y[:, order, label], proba[order, label]
        # The last place that each row shares with those of its probability.
        last = np.searchsorted(-ranked, -ranked, side="right") - 1
        precision = truth.cumsum(axis=1)[:, last] / (last + 1)
        positive = truth.sum(axis=1)
        if positive[0]:
            scores.append((truth * precision).sum(axis=1) / positive)
    return np.mean(scores, axis=0)
