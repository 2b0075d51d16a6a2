"""Whether one difference between scores is more than luck: the tests, their correction, and what they can detect."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import InputError

ALPHA = 0.05
# Differences of accuracy below this are of no practical use.
ROPE = 0.01
# How many degrees of freedom the expected variance counts for; see `corrected_t_test`.
PRIOR_WEIGHT = 50


def corrected_t_test(
    first: NDArray[np.float64], second: NDArray[np.float64], *, test_share: float, expected: float | None = None
) -> float:
    """The two-sided p value of the corrected resampled t-test, with moderated variance where one is expected.

    The variance of the mean of ``J`` differences is ``(1/J + n_test/n_train)`` times their variance, since training
    parts overlap (Nadeau and Bengio, Machine Learning 52, 2003). A few folds estimate that variance badly: by chance
    it comes out near zero, or several times too large. So it is shrunk towards its expectation, as an empirical Bayes
    estimate is (Smyth, Statistical Applications in Genetics and Molecular Biology 3, 2004, known as limma)::

        s² = (df · s² + 50 · d / n_test) / (df + 50)    with df + 50 degrees of freedom, df = J - 1

    where ``d`` is the variance of the differences of correctness (right 1, wrong 0) row by row, and ``n_test`` the rows
    of a test part: ``d / n_test`` is the variance that a mean over ``n_test`` independent rows has. The weight 50 was
    chosen by simulation: equal heads are rarely called different, and a head 18 points below is found in five folds.

    Parameters
    ----------
    first, second
        ``(J,)`` scores on the same splits.
    test_share
        ``n_test / n_train``.
    expected
        ``d / n_test``; None for the plain test, for scores that are no means over rows.

    Returns
    -------
    float
        NaN for a single split without an expected variance: nothing can be said.
    """
    from scipy import stats

    differences = first - second
    count, freedom = len(differences), len(differences) - 1
    if not freedom and expected is None:
        return float("nan")
    variance = float(differences.var(ddof=1)) if freedom else 0.0
    if expected is not None:
        variance = (freedom * variance + PRIOR_WEIGHT * expected) / (freedom + PRIOR_WEIGHT)
        freedom += PRIOR_WEIGHT
    scale = np.sqrt((1 / count + test_share) * variance)
    if scale == 0:
        return 1.0 if differences.mean() == 0 else 0.0
    return float(2 * stats.t.sf(abs(differences.mean()) / scale, freedom))


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """The exact two-sided p value for two heads on one test part: rows that just one of them has right, ``(n,)``."""
    from statsmodels.stats.contingency_tables import mcnemar as test

    table = [[int((a & b).sum()) for b in (second, ~second)] for a in (first, ~first)]
    return float(test(table, exact=True).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values that keep the family-wise error (Holm, Scandinavian Journal of Statistics 6, 1979).

    NaN is a comparison that was not made: it stays NaN and does not count.
    """
    adjusted = np.array(p_values, float)
    known = np.flatnonzero(~np.isnan(adjusted))
    ascending = known[np.argsort(adjusted[known], kind="stable")]
    steps = np.arange(len(ascending), 0, -1) * adjusted[ascending]
    adjusted[ascending] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


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


def detectable(
    *, n_rows: int, folds: int, repeats: int, discordance: float, comparisons: int = 1, power: float = 0.8
) -> float | None:
    """The smallest true difference of accuracy that a run will call different with probability ``power``.

    It describes `corrected_t_test` with moderated variance and Holm's first step over ``comparisons``, by the
    noncentral t distribution with the degrees of freedom of that test. Assumed is that

    - two heads that disagree on a share ``discordance`` of the rows have ``d = discordance`` (less the square of their
      difference, which is left out), and the folds vary as ``d / n_test`` says;
    - the mean over all splits varies as ``d / n_rows`` says, that is by the draw of the rows. The test itself allows
      for more (Nadeau and Bengio's factor): heads whose fits depend much on the training part are found less often,
      heads of which the repeats average much luck away more often.

    ``repeats`` 0 is one split, of which the test part is one fold: there the variance of paired rows is not corrected.
    Heads can't differ by more than they disagree: None where even that would not be detected.

    Raises
    ------
    InputError
        When ``discordance`` is no share.
    """
    if not 0 < discordance <= 1:
        raise InputError(f"got a discordance of {discordance}, expected a share above 0 and up to 1")
    from scipy import optimize, stats

    n_test = n_rows / folds
    correction = 1 / (folds * repeats) + 1 / (folds - 1) if repeats else 1.0
    scale = np.sqrt(correction * discordance / n_test)
    noise = np.sqrt(discordance / (n_rows if repeats else n_test))
    freedom = folds * repeats - 1 + PRIOR_WEIGHT if repeats else n_test - 1
    critical = stats.t.isf(ALPHA / comparisons / 2, freedom) * scale / noise

    def power_at(effect: float) -> float:
        return float(stats.nct.sf(critical, freedom, effect / noise))

    if power_at(discordance) < power:
        return None
    return float(optimize.brentq(lambda effect: power_at(effect) - power, 0.0, discordance))
