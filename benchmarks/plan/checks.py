"""Signs of leaks in the data, looked for before a run; each is a sentence for the report."""

from collections.abc import Sequence

import numpy as np

from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.protocols import Split

# The share of one column's variance that lies between classes. Real embeddings stay far below a half.
LABEL_SHARE = 0.8


def warnings_of(dataset: EmbeddingDataset, splits: Sequence[Split]) -> list[str]:
    """Every sign found in one dataset and its splits."""
    found = [sign for sign in (label_columns(dataset), fitted_outside(dataset)) if sign]
    leaks = max(split.leaks(dataset.groups) for split in splits)
    if leaks:
        rows = "row has" if leaks == 1 else "rows have"
        found.append(f"{leaks} test {rows} a byte-identical image in the training part of this split")
    return found


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
