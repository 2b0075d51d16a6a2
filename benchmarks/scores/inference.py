"""Which rows of a table differ, all of its comparisons together: from what each row has on every tested image."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores.variance import Variances, of_images, of_splits

Row = tuple[str, str]
ALPHA = 0.05
# Differences below this are of no practical use: a point of accuracy, a hundredth of a nat.
MARGIN = 0.01
# Draws of the largest statistic of a table, and how many numbers are held at a time.
DRAWS, HELD = 10_000, 8_000_000
BETTER, EQUIVALENT, WORSE, UNDECIDED = "better", "equivalent", "worse", "undecided"


@dataclass(frozen=True)
class Results:
    """What the rows of a table have, by one metric.

    Parameters
    ----------
    values
        For each row ``(repeats, n)`` float64, the same images for every row; NaN in repeats that it lacks. Where
        ``by_split``, one score a fold instead of one an image, ``(repeats, folds)``: for metrics that are no means
        over images.
    folds
        ``(repeats, n)`` int64: in which test part an image was. Not used where ``by_split``.
    groups
        ``(n,)`` int64: copies of an image have one number. Not used where ``by_split``.
    test_share
        ``n_test / n_train``.
    higher
        Whether a larger value is better.
    binary
        Whether a value says right or wrong.
    """

    values: Mapping[Row, NDArray[np.float64]]
    folds: NDArray[np.int64]
    groups: NDArray[np.int64]
    test_share: float
    higher: bool = True
    binary: bool = False
    by_split: bool = False


@dataclass(frozen=True)
class Inference:
    """Simultaneous 95 % intervals for every difference of two rows, and what follows from them.

    All statements hold together with probability 95 %: which rows are not worse than any other (the set of best rows:
    Hsu, Multiple Comparisons, 1996), between which places a row stands (Klein, Wright and Wieczorek, A joint confidence
    region for an overall ranking of populations, JRSS C 69, 2020), and each verdict on a pair.

    Parameters
    ----------
    family
        The rows that are compared.
    difference
        ``(m, m)`` float64 over ``rows``: mean of the first minus mean of the second, over the repeats that both have;
        NaN where they have none in common.
    error
        ``(m, m)`` float64: standard error of the difference.
    largest
        ``(draws,)`` float64, ascending: the largest statistic of the family when no two rows differ.
    """

    rows: tuple[Row, ...]
    family: tuple[Row, ...]
    difference: NDArray[np.float64]
    error: NDArray[np.float64]
    largest: NDArray[np.float64]
    higher: bool
    place: Mapping[Row, int] = field(default_factory=dict)

    @cached_property
    def critical(self) -> float:
        """How many standard errors an interval reaches to each side."""
        return float(np.quantile(self.largest, 1 - ALPHA)) if len(self.largest) else float("nan")

    def interval(self, first: Row, second: Row) -> tuple[float, float, float]:
        """The difference, and the lower and upper end of its simultaneous interval."""
        where = self.place[first], self.place[second]
        half = self.critical * self.error[where]
        return float(self.difference[where]), float(self.difference[where] - half), float(self.difference[where] + half)

    def p_value(self, first: Row, second: Row) -> float:
        """The probability of so large a statistic anywhere in the family when no two rows differ."""
        where = self.place[first], self.place[second]
        if np.isnan(self.difference[where]) or not len(self.largest):
            return float("nan")
        statistic = _statistic(self.difference[where], self.error[where])
        as_large = len(self.largest) - int(np.searchsorted(self.largest, statistic - 1e-9))
        return (1 + as_large) / (1 + len(self.largest))

    def verdict(self, first: Row, second: Row, *, margin: float = MARGIN) -> str:
        """What the interval allows: ``better``, ``equivalent`` (within ``margin``), ``worse``, ``undecided``."""
        _, low, high = self.interval(first, second)
        if np.isnan(low):
            return UNDECIDED
        if -margin < low and high < margin:
            return EQUIVALENT
        if low > 0 or high < 0:
            return BETTER if (low > 0) == self.higher else WORSE
        return UNDECIDED

    def better(self, first: Row, second: Row) -> bool:
        """Whether the first is significantly better than the second, by however little."""
        _, low, high = self.interval(first, second)
        return bool(low > 0 if self.higher else high < 0)

    @cached_property
    def ranks(self) -> dict[Row, tuple[int, int]]:
        """For each row of the family the best and the worst place that it may have; 1 is the best. Empty where nothing
        can be compared.
        """
        found: dict[Row, tuple[int, int]] = {}
        if np.isnan(self.critical):
            return found
        for row in self.family:
            others = [other for other in self.family if other != row]
            above = sum(self.better(other, row) for other in others)
            below = sum(self.better(row, other) for other in others)
            found[row] = (1 + above, len(self.family) - below)
        return found

    @property
    def best(self) -> tuple[Row, ...]:
        """The rows that no other is significantly better than."""
        return tuple(row for row, (first, _) in self.ranks.items() if first == 1)


def infer(results: Results, *, left_out: Collection[Row] = ()) -> Inference:
    """Compare all rows with each other.

    The variance of a difference is that of `variance.of_images`. The critical value is the 95 % quantile of the largest
    absolute statistic over all pairs of the family, drawn from a multivariate t distribution with the covariance of
    the rows over images, clustered by group (Hothorn, Bretz and Westfall, Simultaneous inference in general parametric
    models, Biometrical Journal 50, 2008).

    Parameters
    ----------
    left_out
        Rows that are no candidates, such as the most frequent class: they can be compared with the others, by the same
        critical value, but no comparison is corrected for them.
    """
    rows = tuple(results.values)
    family = tuple(row for row in rows if row not in left_out)
    values = [results.values[row] for row in rows]
    among = np.array([row in family for row in rows], bool)
    if results.by_split:
        found = of_splits(values, test_share=results.test_share)
    else:
        found = of_images(
            values,
            results.folds,
            results.groups,
            test_share=results.test_share,
            binary=results.binary,
            family=among,
        )
    place = {row: number for number, row in enumerate(rows)}
    largest = _largest(found, among)
    return Inference(rows, family, found.difference, np.sqrt(found.variance), largest, results.higher, place)


def _statistic(difference: float, error: float) -> float:
    if error == 0:
        return 0.0 if difference == 0 else float("inf")
    return abs(difference) / error


def _largest(found: Variances, family: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Draws of the largest statistic over all pairs of the family, ascending.

    Empty where a single split of scores leaves nothing to judge by.
    """
    places = np.flatnonzero(family & (np.diag(found.covariance) >= 0))
    covariance = found.covariance[np.ix_(places, places)]
    variances = np.diag(covariance)
    spread = np.sqrt(np.maximum(variances[:, None] + variances - 2 * covariance, 0.0))
    # Rows that predict alike make no pair: no difference of theirs can be drawn.
    spread[spread <= 1e-7 * np.sqrt(max(float(variances.max(initial=0.0)), 1e-300))] = np.inf
    pairs = int(np.isfinite(spread[np.triu_indices(len(places), 1)]).sum())
    if found.freedom < 1:
        return np.empty(0)
    if not pairs:  # one row, or rows that are all alike: one comparison, with a row that is left out
        return np.sort(np.abs(np.random.default_rng(0).standard_t(found.freedom, DRAWS)))
    # By eigenvalues: rows of different repeats need not have a covariance that is quite positive.
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng(0)
    step = max(1, HELD // pairs)
    parts: list[NDArray[np.float64]] = []
    for start in range(0, DRAWS, step):
        drawn = rng.standard_normal((min(step, DRAWS - start), len(places))) @ root.T
        scale = np.sqrt(rng.chisquare(found.freedom, len(drawn)) / found.freedom)
        rows, largest = np.ascontiguousarray(drawn.T), np.zeros(len(drawn))
        for row in range(len(rows) - 1):  # with all that follow, which are one block
            statistics = np.abs((rows[row] - rows[row + 1 :]) / spread[row, row + 1 :, None])
            np.maximum(largest, statistics.max(axis=0), out=largest)
        parts.append(largest / scale)
    return np.sort(np.concatenate(parts))


def ordered(rows: Sequence[Row], means: Mapping[Row, float], *, higher: bool) -> list[Row]:
    """Best first; means that differ by rounding errors alone are equal and go by name."""
    return sorted(rows, key=lambda row: (-round(means[row], 9) if higher else round(means[row], 9), row))
