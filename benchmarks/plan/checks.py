"""Signs of leaks in the data, looked for before a run; each is a sentence for the report."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.groups import together_in
from benchmarks.plan.protocols import ONE_SPLIT, Split

# The share of one column's variance that lies between classes. Real embeddings stay far below a half.
LABEL_SHARE = 0.8
# A group with a larger share of the rows, and more rows than this, is told.
LARGE_SHARE, LARGE_ROWS = 0.1, 10
STRICTER = "lower --hash-distance or raise --cosine"
# How many measures, and failures, are listed.
LISTED = 3


def warnings_of(datasets: Sequence[EmbeddingDataset], splits: Sequence[Split]) -> list[str]:
    """Every sign found in the datasets of a run, which have the same rows and groups, and in its splits, once."""
    signs = [sign for dataset in datasets for sign in signs_in_vectors(dataset)]
    return list(dict.fromkeys([*signs, *signs_in_splits(datasets[0], splits)]))


def signs_in_vectors(dataset: EmbeddingDataset) -> list[str]:
    """What the vectors of one backbone tell."""
    return [sign for sign in (label_columns(dataset), fitted_outside(dataset)) if sign]


def signs_in_splits(dataset: EmbeddingDataset, splits: Sequence[Split]) -> list[str]:
    """What the groups tell, which are the same over all backbones: copies on both sides, groups larger than a fold."""
    found = []
    leaks = max(split.leaks(dataset.groups) for split in splits)
    if leaks:
        rows = "row has" if leaks == 1 else "rows have"
        what = "near-duplicate" if dataset.grouping.near else "duplicate (an equal file, or equal vectors)"
        found.append(f"{leaks} test {rows} a {what} in the training part of this split")
    found += [sign for sign in (near_across(dataset, splits), large_group(dataset, splits)) if sign]
    failures = [one.failure for one in dataset.near if one.failure]
    return found + [f"not all near-duplicates could be counted: {failure}" for failure in failures[:LISTED]]


def near_across(dataset: EmbeddingDataset, splits: Sequence[Split]) -> str | None:
    """A sentence when test rows have a near-duplicate in the training part; the split with most of them counts."""
    measures = [one for one in dataset.near if len(one.first)]
    if not measures:
        return None
    names, codes = np.unique(dataset.groups, return_inverse=True)
    pairs = [(np.searchsorted(names, one.first), np.searchsorted(names, one.second)) for one in measures]
    most, counts, tested = 0, [0] * len(measures), 0
    for split in splits:
        marks = [_near_training(codes, split, first, second) for first, second in pairs]
        together = int(np.logical_or.reduce(marks).sum())
        if together > most:
            most, counts, tested = together, [int(mark.sum()) for mark in marks], len(split.test)
    if not most:
        return None
    by = [f"{count} by {one.measure}" for count, one in zip(counts, measures, strict=True) if count]
    listed = "; ".join(by[:LISTED]) + (f"; and {len(by) - LISTED} more" if len(by) > LISTED else "")
    drawn = "" if splits[0].protocol not in ONE_SPLIT else "--protocol cv "
    remedy = f"`{drawn}--group near` keeps near-duplicates on one side"
    groups = reduce(lambda groups, one: together_in(groups, dataset.groups, one), measures, dataset.groups)
    largest = int(np.unique(groups, return_counts=True)[1].max())
    if _is_large(largest, groups):
        remedy += f", but these thresholds put {largest} of {len(groups)} rows into one group: {STRICTER} first"
    return (
        f"{most} of {tested} test rows {'has' if most == 1 else 'have'} a near-duplicate in the training part of "
        f"{'the' if len(splits) == 1 else 'a'} split ({listed}), so that scores may be too high: {remedy}"
    )


def large_group(dataset: EmbeddingDataset, splits: Sequence[Split]) -> str | None:
    """A sentence when one group holds so many rows that folds become uneven."""
    largest = int(np.unique(dataset.groups, return_counts=True)[1].max())
    if splits[0].protocol in ONE_SPLIT or not _is_large(largest, dataset.groups):
        return None
    why = f": {STRICTER}" if dataset.grouping.near else ", such as an image that stands for missing ones"
    what = "near-duplicates" if dataset.grouping.near else "duplicates"
    return f"{largest} of {len(dataset.groups)} rows are {what} of each other, always on one side of a split{why}"


def _is_large(largest: int, groups: NDArray[np.int64]) -> bool:
    return largest > max(LARGE_SHARE * len(groups), LARGE_ROWS)


def _near_training(
    codes: NDArray[np.int64], split: Split, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """``(n_test,)``: which test rows have a near-duplicate in the training part.

    Parameters
    ----------
    codes
        ``(n,)``: the group of each row as a number from 0 on; ``first`` and ``second`` are the pairs of such numbers.
    """
    trained, alike = np.zeros((2, codes.max() + 1), bool)
    trained[codes[split.train]] = True
    alike[first[trained[second]]] = True
    alike[second[trained[first]]] = True
    return alike[codes[split.test]]


def label_columns(dataset: EmbeddingDataset) -> str | None:
    """A sentence when a column of the vectors gives the label away.

    Measured as the correlation ratio η² (Pearson, 1905) of each column over the classes, and over each class against
    the rest.
    """
    indicators = dataset.y > 0 if dataset.y.ndim == 2 else dataset.y[:, None] == np.arange(len(dataset.classes))
    X = dataset.X.astype(np.float64)
    X = X - X.mean(axis=0)
    total = (X**2).sum(axis=0)
    counts = indicators.sum(axis=0)
    sums = indicators.T @ X
    one_each = sums**2 / np.maximum(counts, 1)[:, None]
    against_rest = one_each + sums**2 / np.maximum(len(X) - counts, 1)[:, None]
    shares = against_rest if dataset.y.ndim == 2 else np.vstack([one_each.sum(axis=0), against_rest])
    with np.errstate(invalid="ignore", divide="ignore"):
        highest = np.where(total > 0, shares.max(axis=0) / total, 0.0)
    bad = np.flatnonzero(highest > LABEL_SHARE)
    if not len(bad):
        return None
    return (
        f"LEAK: column {bad[0]} of {dataset.backbone} nearly is the label ({highest[bad[0]]:.0%} of its variance lies "
        f"between classes{f'; {len(bad)} such columns' if len(bad) > 1 else ''})"
    )


def fitted_outside(dataset: EmbeddingDataset) -> str | None:
    """A sentence when the columns are centred, or span 0 to 1, over exactly these rows: test rows set the scale."""
    X = dataset.X.astype(np.float64)
    X = X[:, np.ptp(X, axis=0) > 0]
    if not X.shape[1]:
        return None
    spread = X.std(axis=0)
    unit = np.abs(spread - 1) < 1e-3
    centred = np.abs(X.mean(axis=0)) < 1e-4 * spread
    spanning = (np.abs(X.min(axis=0)) < 1e-6) & (np.abs(X.max(axis=0) - 1) < 1e-6)
    signs = {"standardised": centred & unit, "centred": centred, "brought to 0 … 1": spanning}
    what = next((name for name, columns in signs.items() if columns.mean() >= 0.99), None)
    if what is None:
        return None
    return (
        f"LEAK: the vectors of {dataset.backbone} are {what} over all rows, so test rows set the scale of training rows"
    )
