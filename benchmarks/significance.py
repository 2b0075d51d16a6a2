"""Which differences between rows of a table are more than luck: corrected tests, a Bayesian answer, tie groups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import InputError

ALPHA = 0.05
# Differences of accuracy below this are of no practical use.
ROPE = 0.01
Row = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """One row against another over the same splits; ``difference`` is the mean of the first minus the second."""

    difference: float
    p_value: float
    p_better: float = float("nan")
    p_equal: float = float("nan")
    p_worse: float = float("nan")


def corrected_t_test(first: NDArray[np.float64], second: NDArray[np.float64], *, test_share: float) -> float:
    """The two-sided p value of the corrected resampled t-test (Nadeau and Bengio, Machine Learning 52, 2003).

    The variance of the mean of ``J`` differences is ``(1/J + n_test/n_train)`` times their variance, since training
    parts overlap.

    Parameters
    ----------
    first, second
        ``(J,)`` scores on the same splits.
    test_share
        ``n_test / n_train``.
    """
    from scipy import stats

    differences = first - second
    count = len(differences)
    scale = np.sqrt((1 / count + test_share) * differences.var(ddof=1))
    if scale == 0:
        return 1.0 if differences.mean() == 0 else 0.0
    return float(2 * stats.t.sf(abs(differences.mean()) / scale, count - 1))


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """The exact two-sided p value for two heads on one test part: rows that just one of them has right, ``(n,)``."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    return float(test(table, exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values that keep the family-wise error (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    if not p_values:
        return []
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(p_values, method="holm")[1]]


def practical(
    first: NDArray[np.float64], second: NDArray[np.float64], *, repeats: int, rope: float = ROPE
) -> tuple[float, float, float]:
    """The probabilities that the first is better, equal within ``rope``, worse.

    The Bayesian correlated t-test (Corani and Benavoli, Machine Learning 100, 2015).
    """
    import baycomp

    if np.ptp(first - second) == 0:
        difference = float((first - second)[0])
        return float(difference > rope), float(abs(difference) <= rope), float(difference < -rope)
    better, equal, worse = baycomp.CorrelatedTTest.probs(first, second, rope=rope, runs=repeats)
    return float(better), float(equal), float(worse)


class Scores:
    """The scores of one run, the same splits for every row: what all comparisons are made of.

    Parameters
    ----------
    splits
        For each row (backbone, head) its score on each split, ``(J,)``, in one order.
    right
        For a protocol with one split: which test rows it had right, ``(n,)``.
    test_share
        ``n_test / n_train``, the mean over the splits.
    """

    def __init__(
        self,
        splits: Mapping[Row, NDArray[np.float64]],
        *,
        right: Mapping[Row, NDArray[np.bool_]],
        test_share: float,
        repeats: int,
    ) -> None:
        self.splits = dict(splits)
        self.right = right
        self.test_share = test_share
        self.repeats = repeats

    def compare(self, first: Row, second: Row) -> Comparison:
        """One row against another."""
        a, b = self.splits[first], self.splits[second]
        difference = float((a - b).mean())
        if len(a) == 1:
            p_value = mcnemar(self.right[first], self.right[second]) if self.right else float("nan")
            return Comparison(difference, p_value)
        p_value = corrected_t_test(a, b, test_share=self.test_share)
        return Comparison(difference, p_value, *practical(a, b, repeats=self.repeats))

    def against(self, reference: Row) -> dict[Row, tuple[Comparison, float]]:
        """Every other row against ``reference``: the comparison, and its p value after Holm's correction."""
        others = [row for row in self.splits if row != reference]
        found = [self.compare(row, reference) for row in others]
        adjusted = holm([one.p_value for one in found])
        return {row: (one, p) for row, one, p in zip(others, found, adjusted, strict=True)}

    def tied_with(self, best: Row, *, alpha: float = ALPHA) -> set[Row]:
        """The rows that can't be told from ``best``, itself included.

        The best of many is picked by the data, so its comparisons are corrected as all pairs are, not as those with one
        row named beforehand.
        """
        pairs = list(combinations(self.splits, 2))
        adjusted = holm([self._p_value(*pair) for pair in pairs])
        apart = {pair for pair, p in zip(pairs, adjusted, strict=True) if p < alpha}
        return {row for row in self.splits if (row, best) not in apart and (best, row) not in apart}

    def _p_value(self, first: Row, second: Row) -> float:
        a, b = self.splits[first], self.splits[second]
        if len(a) > 1:
            return corrected_t_test(a, b, test_share=self.test_share)
        return mcnemar(self.right[first], self.right[second]) if self.right else 1.0


def annotate(rows: Sequence[dict[str, Any]], scores: Scores, *, reference: Row | None) -> None:
    """Add the answers to the rows of a comparison table, best first, in place.

    Every row gets ``reference``, ``difference``, ``p_value``, ``p_holm``, ``different``, ``p_better``, ``p_equal``,
    ``p_worse`` (None where they don't apply) and ``tied_with_best``.
    """
    by_name = {(row["backbone"], row["head"]): row for row in rows}
    whole = {name for name in by_name if name in scores.splits}
    tied = scores.tied_with(next(name for name in by_name if name in whole)) if whole else set()
    against = scores.against(reference) if reference in whole and reference else {}
    for name, row in by_name.items():
        row["reference"] = name == reference
        row["tied_with_best"] = name in tied
        comparison, p_holm = against.get(name, (None, None))
        row["p_holm"] = p_holm
        row["different"] = p_holm is not None and p_holm < ALPHA
        for field in ("difference", "p_value", "p_better", "p_equal", "p_worse"):
            value = getattr(comparison, field, None)
            row[field] = None if value is None or np.isnan(value) else value


def detectable(
    *, n_rows: int, folds: int, repeats: int, discordance: float, comparisons: int = 1, power: float = 0.8
) -> float | None:
    """The smallest true difference of accuracy that a run will call different with probability ``power``.

    Two heads that disagree on a share ``discordance`` of the rows differ on ``n_test`` rows with variance
    ``discordance / n_test``; the rest is the corrected resampled t-test, Holm's first step over ``comparisons``, and
    the noncentral t distribution. ``repeats`` 0 is one split, of which the test part is one fold. Heads can't
    differ by more than they disagree: None where even that would not be detected.

    Raises
    ------
    InputError
        When ``discordance`` is no share.
    """
    if not 0 < discordance <= 1:
        raise InputError(f"got a discordance of {discordance}, expected a share above 0 and up to 1")
    from scipy import optimize, stats

    n_test = n_rows / folds
    # One split: the paired test of its rows, whose variance needs no correction.
    variance = 1 / (folds * repeats) + 1 / (folds - 1) if repeats else 1.0
    scale = np.sqrt(variance * discordance / n_test)
    freedom = folds * repeats - 1 if repeats else n_test - 1
    critical = stats.t.isf(ALPHA / comparisons / 2, freedom)

    def power_at(effect: float) -> float:
        return float(stats.nct.sf(critical, freedom, effect / scale))

    if power_at(discordance) < power:
        return None
    return float(optimize.brentq(lambda effect: power_at(effect) - power, 0.0, discordance))
