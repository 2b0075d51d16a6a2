"""The variance of the difference between two rows of a table: the part of the images and the part of the fits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
# How many degrees of freedom the table's own ratio counts for beside those of a pair's splits; chosen by simulation.
PRIOR = 10.0


@dataclass(frozen=True)
class Variances:
    """All differences of the rows of a table.

    Parameters
    ----------
    difference, variance
        ``(m, m)`` float64; NaN where two rows have no repeat in common.
    covariance
        ``(m, m)`` float64 of the rows' means, by which the statistics of a table hang together; its diagonal is -1 for
        rows without a value.
    freedom
        Degrees of freedom.
    """

    difference: Matrix
    variance: Matrix
    covariance: Matrix
    freedom: int


def of_images(
    values: Sequence[Matrix],
    folds: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    test_share: float,
    binary: bool,
    family: NDArray[np.bool_],
) -> Variances:
    """From what each row has on every image, ``(repeats, n)``, see `inference.Results`.

    With ``J`` splits, and ``s = n_test / n_train``::

        variance = (1 + s) · images + (1/J + s) · fits

    ``images`` is the variance of the mean over images of the difference, averaged over repeats first and clustered by
    duplicate group (Bayle et al., Cross-validation confidence intervals for test error, NeurIPS 2020). ``fits`` is by
    how much the means of the splits vary beyond what the images explain: a head may be lucky on a whole test part. A
    few splits tell that badly, so it is shrunk towards the ratio of all pairs in the table (Smyth, Statistical
    Applications in Genetics and Molecular Biology 3, 2004, known as limma). The factors are those of Nadeau and Bengio
    (Inference for the generalization error, Machine Learning 52, 2003), for each part by itself: training parts
    overlap, so that no number of repeats averages away the luck of the collection as a training set.

    By images alone the error is two to four times the promised one on real vectors; by splits alone, or with the whole
    variance under the last factor, the intervals are up to twice as wide as need be: see the README.

    ``binary`` adds one image more on which the two rows disagree, so that a handful of images is never certain.
    """
    count = len(values)
    known = np.stack([~np.isnan(one).any(axis=1) for one in values])
    difference, images, splits, expected = (np.full((count, count), np.nan) for _ in range(4))
    number = np.zeros((count, count))
    covariance = np.full((count, count), 0.0)
    np.fill_diagonal(covariance, -1.0)
    patterns, pattern = np.unique(known, axis=0, return_inverse=True)
    for a in range(len(patterns)):
        for b in range(a, len(patterns)):
            both = patterns[a] & patterns[b]
            if not both.any():
                continue
            places = np.flatnonzero((pattern == a) | (pattern == b))
            part = _part(np.stack([values[int(place)][both] for place in places]), folds[both], groups)
            block = np.ix_(places, places)
            wanted = (pattern[places] == a)[:, None] & (pattern[places] == b)
            wanted |= wanted.T
            for target, found in zip((difference, images, splits, expected, number, covariance), part, strict=True):
                target[block] = np.where(wanted, found, target[block])
    fits = _fits(splits, expected, number, family)
    variance = (1 + test_share) * images + (1 / np.maximum(number, 1) + test_share) * fits
    if binary:
        variance += 1 / len(groups) ** 2
    np.fill_diagonal(variance, 0.0)
    return Variances(difference, variance, covariance, max(len(np.unique(groups)) - 1, 0))


def of_splits(values: Sequence[Matrix], *, test_share: float) -> Variances:
    """From one score a split, ``(repeats, folds)``: the corrected resampled t-test (Nadeau and Bengio, 2003).

    For metrics that are no means over images. Splits that not all rows have are left out.
    """
    scores = np.stack([one.ravel() for one in values])
    scores = scores[:, ~np.isnan(scores).any(axis=0)]
    count, number = scores.shape
    if number < 2:
        nothing = np.full((count, count), np.nan)
        means = scores.mean(axis=1) if number else np.full(count, np.nan)
        return Variances(means[:, None] - means, nothing, -np.eye(count), 0)
    means, covariance = scores.mean(axis=1), np.atleast_2d(np.cov(scores))
    variance = (1 / number + test_share) * _of_difference(covariance)
    return Variances(means[:, None] - means, variance, covariance, number - 1)


def _part(values: NDArray[np.float64], folds: NDArray[np.int64], groups: NDArray[np.int64]) -> tuple[Matrix, ...]:
    """Of ``(m, repeats, n)``, whole repeats: difference, its variance by images, variance of the means of the splits,
    what the images make of that, number of splits, covariance of the means by images; each ``(m, m)``.
    """
    count, repeats, n = values.shape
    tests = [(repeat, folds[repeat] == fold) for repeat in range(repeats) for fold in np.unique(folds[repeat])]
    sizes = np.array([rows.sum() for _, rows in tests])
    # Each split weighs the same, as in the means of a table.
    weights = np.empty((repeats, n))
    for (repeat, rows), size in zip(tests, sizes, strict=True):
        weights[repeat, rows] = n * repeats / (size * len(tests))
    mean = (values * weights).mean(axis=(1, 2))
    centred = ((values - mean[:, None, None]) * weights).mean(axis=1)
    codes = np.unique(groups, return_inverse=True)[1]
    sums = np.stack([np.bincount(codes, one) for one in centred])
    clusters = sums.shape[1]
    covariance = sums @ sums.T / n**2 * clusters / max(clusters - 1, 1)
    means = np.stack([values[:, repeat, rows].mean(axis=1) for repeat, rows in tests], axis=1)
    between = np.atleast_2d(np.cov(means)) if len(tests) > 1 else np.zeros((count, count))
    expected = _of_difference(_inside(values - mean[:, None, None], folds, codes, tests))
    number = np.full((count, count), float(len(tests)))
    return mean[:, None] - mean, _of_difference(covariance), _of_difference(between), expected, number, covariance


def _inside(
    centred: NDArray[np.float64],
    folds: NDArray[np.int64],
    codes: NDArray[np.int64],
    tests: Sequence[tuple[int, NDArray[np.bool_]]],
) -> Matrix:
    """The covariance that the mean of a test part has by the draw of its images, the mean over the test parts."""
    total = np.zeros((len(centred), len(centred)))
    for repeat, fold in enumerate(folds):
        # Rows of one group in one test part are drawn together.
        place = np.unique(codes * (fold.max() + 1) + fold, return_inverse=True)[1]
        size = np.zeros(len(fold))
        for which, rows in tests:
            if which == repeat:
                size[rows] = rows.sum()
        sums = np.stack([np.bincount(place, one[repeat] / size) for one in centred])
        total += sums @ sums.T
    return total / len(tests)


def _fits(splits: Matrix, expected: Matrix, number: Matrix, family: NDArray[np.bool_]) -> Matrix:
    """How much the means of splits vary beyond ``expected``, shrunk towards the family's ratio; not negative."""
    first, second = np.triu_indices(len(family), 1)
    told = family[first] & family[second] & (number[first, second] > 1) & (expected[first, second] > 0)
    ratios = (splits[first, second] / np.where(expected[first, second] > 0, expected[first, second], 1.0))[told]
    ratio = max(1.0, float(ratios.mean())) if len(ratios) else 1.0
    freedom = np.maximum(number - 1, 0)
    found = (freedom * splits + PRIOR * ratio * expected) / (freedom + PRIOR) - expected
    return np.where(number > 1, np.maximum(found, 0.0), 0.0)


def _of_difference(covariance: Matrix) -> Matrix:
    """Variances of all differences from the covariance of the rows."""
    variances = np.diag(covariance)
    return np.maximum(variances[:, None] + variances - 2 * covariance, 0.0)
