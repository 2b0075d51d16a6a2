"""How small a difference of accuracy a run can see, before it is run."""

import numpy as np

from benchmarks.scores.inference import ALPHA
from benchmarks.scores.variance import PRIOR
from featurestore.errors import InputError


def detectable(
    *, n_rows: int, folds: int, repeats: int, discordance: float, candidates: int = 2, power: float = 0.8
) -> float | None:
    """The smallest true difference of accuracy that a table will call one with probability ``power``.

    It describes `inference.infer` for heads whose fits are stable: the critical value is that of the studentized range
    (Tukey), and the error that of `variance.of_images`, with what a few splits add to it by chance. Assumed is that two
    heads disagree on a share ``discordance`` of the images, the same ones in every repeat; of heads that change their
    mind from fit to fit a repeated run sees more, of heads whose accuracy does, less.

    ``repeats`` 0 is one split, of which the test part is one of ``folds``. Heads can't differ by more than they
    disagree: None where even that would probably not be seen.

    Raises
    ------
    InputError
        When ``discordance`` is no share.
    """
    if not 0 < discordance <= 1:
        raise InputError(f"got a discordance of {discordance}, expected a share above 0 and up to 1")
    from scipy import optimize, stats

    n_tested = n_rows if repeats else n_rows / folds
    inflation = _inflation(folds, repeats, candidates)
    critical = _critical(candidates, freedom=n_tested - 1)

    def power_at(effect: float) -> float:
        error = np.sqrt(max(discordance - effect**2, 1e-12) / n_tested)
        return float(stats.norm.cdf(effect / error - critical * np.sqrt(inflation)))

    if power_at(discordance) < power:
        return None
    return float(optimize.brentq(lambda effect: power_at(effect) - power, 0.0, discordance))


def _inflation(folds: int, repeats: int, candidates: int) -> float:
    """The expected variance of a difference in parts of that of its images, see `variance.of_images`."""
    share = 1 / (folds - 1) if folds > 1 else 0.0
    splits = folds * repeats
    if splits < 2:
        return 1 + share
    freedom = splits - 1
    # The ratio of a table is at least 1, and by chance above it; that of a pair is shrunk towards it.
    ratio = 1 + _above(1.0, freedom=freedom * (candidates - 1))
    weight = freedom / (freedom + PRIOR)
    shift = (1 - weight) * (ratio - 1)
    by_chance = weight * _above(1 - shift / weight, freedom=freedom)
    return float(1 + share + (1 / splits + share) * folds * by_chance)


def _above(bar: float, *, freedom: int) -> float:
    """``E max(0, X - bar)`` of a variance estimate of expectation 1, ``X = χ² / freedom``."""
    from scipy import stats

    chi2 = stats.chi2
    return float(chi2.sf(freedom * bar, freedom + 2) - bar * chi2.sf(freedom * bar, freedom))


def _critical(candidates: int, *, freedom: float) -> float:
    from scipy import stats

    if candidates < 2:
        return float(stats.t.isf(ALPHA / 2, freedom))
    # With many degrees of freedom its limit, which is far quicker to compute.
    freedom = np.inf if freedom > 300 else freedom
    return float(stats.studentized_range.isf(ALPHA, candidates, freedom) / np.sqrt(2))
