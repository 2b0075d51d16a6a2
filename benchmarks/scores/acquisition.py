"""Batch active learning: which unlabelled rows to label next, from probabilities and vectors alone."""

import numpy as np
from numpy.typing import NDArray

# How many times as many uncertain rows are looked at as are chosen.
PRESELECTED = 10


def uncertainty(proba: NDArray[np.floating]) -> NDArray[np.float64]:
    """``(n,)``: one minus the difference of the two largest probabilities of each row ``(n, n_classes)``."""
    two = np.sort(proba.astype(np.float64), axis=1)[:, -2:]
    return 1 - (two[:, 1] - two[:, 0])


def diverse_batch(proba: NDArray[np.floating], X: NDArray[np.floating], n: int, *, seed: int = 0) -> NDArray[np.int64]:
    """The places of ``n`` uncertain and different rows, most uncertain first; all when there are no more.

    Zhdanov (2019), Diverse mini-batch active learning: of the ``PRESELECTED * n`` most uncertain rows, clustered by
    k-means into ``n`` clusters with the uncertainty as weight, the row of each cluster that is nearest to its centre.
    Compared are the directions of the vectors from their mean.

    Parameters
    ----------
    proba
        ``(m, n_classes)``.
    X
        ``(m, d)``.
    seed
        Of the start of k-means; the same seed gives the same rows.
    """
    from sklearn.cluster import KMeans

    unsure = uncertainty(proba)
    kept = np.argsort(-unsure, kind="stable")[: PRESELECTED * n]
    if len(kept) <= n:
        return kept
    directions = _directions(np.asarray(X, np.float64), kept)
    # A row that is sure has no weight, yet k-means needs some on every row.
    weights = np.maximum(unsure[kept], 1e-6)
    if len(np.unique(directions, axis=0)) <= n:
        return kept[:n]
    clusters = KMeans(n, n_init=1, random_state=seed).fit(directions, sample_weight=weights)
    distances = np.linalg.norm(directions - clusters.cluster_centers_[clusters.labels_], axis=1)
    order = np.lexsort([np.arange(len(kept)), distances, clusters.labels_])
    nearest = order[np.unique(clusters.labels_[order], return_index=True)[1]]
    # A cluster may have ended empty.
    others = np.setdiff1d(np.arange(len(kept)), nearest)[: n - len(nearest)]
    return kept[np.sort(np.append(nearest, others))]


def _directions(X: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The vectors of ``rows`` from the mean of all, at unit length."""
    centred = X[rows] - X.mean(axis=0)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
