"""The canary: heads on shuffled labels, and whether what any of them predicts depends on those labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.read import comparison, predictions, primary, runs
from benchmarks.scores.correction import holm
from benchmarks.scores.inference import ALPHA
from featurestore import FeatureStore

# A p value of one in two thousand; for each row of a table some more, so that Holm's correction leaves it significant.
PERMUTATIONS, FOR_EACH_ROW = 1999, 40
# Of these the score itself, which costs more, is computed: its mean is only shown.
SCORED = 200
# Numbers that are held in memory at once.
AT_ONCE = 4_000_000
# Labels ``(n,)``, or ``(n, n_labels)`` of true and false, and probabilities ``(n, n_classes)`` of one test part.
Fold = tuple[NDArray[np.int64] | NDArray[np.bool_], NDArray[np.float32]]


@dataclass(frozen=True)
class CanaryResult:
    """The score of a head on shuffled labels; ``p_holm`` is the p value of `permutation_test`, after Holm's correction.

    ``score`` is the task's first ``metric``, ``chance`` what the same predictions score by chance; None where the head
    failed.
    """

    backbone: str
    head: str
    metric: str
    score: float | None
    chance: float | None
    p_holm: float | None

    @property
    def leaks(self) -> bool:
        """Whether its predictions depend on the labels that it must not know."""
        return self.p_holm is not None and self.p_holm < ALPHA


def canary_results(store: FeatureStore, run_id: str) -> list[CanaryResult]:
    """Each row of a canary run against chance."""
    run = next(run for run in runs(store, canary=True) if run["run_id"] == run_id)
    metric = primary(run)
    rows = comparison(store, run)
    table, classes = predictions(store, run).to_pandas(), len(run["classes"])
    found = {
        (str(backbone), str(head)): permutation_test(
            [_fold(part, classes, run["task"]) for _, part in own.groupby(["repeat", "fold"])],
            permutations=max(PERMUTATIONS, FOR_EACH_ROW * len(rows)),
            seed=run["seed"],
        )
        for (backbone, head), own in table.groupby(["backbone", "head"])
    }
    adjusted = dict(zip(found, holm([p_value for _, p_value in found.values()]), strict=True))
    names = [(row["backbone"], row["head"]) for row in rows]
    return [
        CanaryResult(*name, metric, row[metric], found.get(name, (None,))[0], adjusted.get(name))
        for name, row in zip(names, rows, strict=True)
    ]


def canary_lines(results: Sequence[CanaryResult]) -> list[str]:
    """The results for a person."""
    lines = ["labels shuffled"]
    for result in results:
        text = "FAILED TO RUN"
        if result.score is not None:
            verdict = "  LEAK: better than chance" if result.leaks else ""
            text = f"{result.score:.3f}  chance {result.chance:.3f}  p {result.p_holm:.3f}{verdict}"
        lines.append(f"{result.backbone:<24}{result.head:<24}{text}")
    return lines


def permutation_test(folds: Sequence[Fold], *, permutations: int, seed: int) -> tuple[float, float]:
    """The score that chance gives to these predictions, and the one-sided p value of their independence of the labels.

    The labels of each test part are permuted among its rows while the predictions stay: with shuffled labels every
    such order is as likely as the one that was tested (Ojala and Garriga, Journal of Machine Learning Research 11,
    2010). The statistic is the sum of the probabilities of the true labels, which sees smaller leaks than the score: a
    row whose label is known has a high probability too. The p value counts the tested order, so that it is never too
    small (Phipson and Smyth, Statistical Applications in Genetics and Molecular Biology 9, 2010). Copies of an image
    need no grouping, since their labels were shuffled one by one. Chance is the mean accuracy, or mean average
    precision, over orders.
    """
    rng = np.random.default_rng(seed)
    tested = sum(_probability(y[None], proba)[0] for y, proba in folds)
    sums, scores = np.zeros(permutations), np.zeros(min(SCORED, permutations))
    for y, proba in folds:
        few = max(1, AT_ONCE // y.size)
        for start in range(0, permutations, few):
            count = min(few, permutations - start)
            dealt = y[rng.permuted(np.tile(np.arange(len(y)), (count, 1)), axis=1)]
            sums[start : start + count] += _probability(dealt, proba)
            score = accuracy if y.ndim == 1 else mean_average_precision
            if wanted := min(count, max(0, len(scores) - start)):
                scores[start : start + wanted] += score(dealt[:wanted], proba) / len(folds)
    # Orders that are equal for the statistic must count as such, whatever the order of their additions.
    as_high = int((sums >= tested - 1e-9 * max(1.0, tested)).sum())
    return float(scores.mean()), (1 + as_high) / (1 + permutations)


def _fold(part: Any, classes: int, task: str) -> Fold:
    """Labels and probabilities of one test part."""
    proba = np.stack(part["proba"].to_list()).astype(np.float32)
    if task == "multiclass":
        return part["y"].to_numpy(np.int64), proba
    y = np.zeros((len(part), classes), bool)
    for row, labels in enumerate(part["labels"]):
        y[row, labels] = True
    return y, proba


def _probability(y: NDArray[Any], proba: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(k,)``: the sum of the probabilities of the true labels for each of ``k`` labellings."""
    if y.ndim == 2:
        return proba[np.arange(len(proba)), y].sum(axis=1, dtype=np.float64)
    return np.einsum("knl,nl->k", y, proba.astype(np.float64))


def accuracy(y: NDArray[np.int64], proba: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(k,)``: the accuracy of ``proba`` ``(n, classes)`` for each of ``k`` labellings ``(k, n)``."""
    return np.asarray((y == proba.argmax(axis=1)).mean(axis=1))


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
