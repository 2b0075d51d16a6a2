"""Probabilities of several classes from the scores of every pair of them, as libsvm makes them."""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

# As libsvm: no class of a pair is surer than this.
MARGIN = 1e-7
STEPS = 100
# Values of the matrices that are solved at once.
AT_ONCE = 2_000_000


def fit_sigmoids(scores: NDArray[np.float64], codes: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Slope and offset of Platt's sigmoid ``(n_pairs, 2)`` for each pair of classes, in the order of `combinations`.

    Parameters
    ----------
    scores
        ``(n, n_pairs)``, of rows unseen by their maker; positive for the first class of the pair.
    """
    found = np.empty((scores.shape[1], 2))
    for pair, (first, second) in enumerate(combinations(range(n_classes), 2)):
        rows = (codes == first) | (codes == second)
        found[pair] = _sigmoid(scores[rows, pair], codes[rows] == first)
    return found


def _sigmoid(scores: Any, positive: Any) -> tuple[float, float]:
    """Newton's method on Platt's smoothed targets (Lin, Lin, Weng, Machine Learning 68, 2007)."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    targets = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))
    place = np.array([0.0, np.log((n_positive + 1) / (n_negative + 1))])
    design = np.column_stack([scores, np.ones(len(scores))])

    def loss(at: Any) -> float:
        logits = design @ at
        return float((np.logaddexp(0.0, logits) - targets * logits).sum())

    value = loss(place)
    for _ in range(STEPS):
        proba = 1.0 / (1.0 + np.exp(-np.clip(design @ place, -500.0, 500.0)))
        gradient = design.T @ (proba - targets)
        if np.abs(gradient).max() < 1e-7:
            break
        curvature = (design * (proba * (1.0 - proba))[:, None]).T @ design + 1e-12 * np.eye(2)
        step, length = np.linalg.solve(curvature, gradient), 1.0
        while length > 1e-10 and loss(place - length * step) > value:
            length /= 2
        if length <= 1e-10:
            break
        place = place - length * step
        value = loss(place)
    return float(place[0]), float(place[1])


def probabilities(scores: NDArray[np.float64], sigmoids: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """``(n, n_pairs)`` scores → ``(n, n_classes)``: the sigmoids of all pairs, coupled."""
    logits = np.clip(scores * sigmoids[:, 0] + sigmoids[:, 1], -500.0, 500.0)
    of_first = np.clip(1.0 / (1.0 + np.exp(-logits)), MARGIN, 1.0 - MARGIN)
    step = max(1, AT_ONCE // n_classes**2)
    parts = [_coupled(of_first[start : start + step], n_classes) for start in range(0, len(scores), step)]
    return np.vstack(parts) if parts else np.empty((0, n_classes))


def _coupled(of_first: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    """The distribution that fits the pairs best (Wu, Lin, Weng, JMLR 5, 2004, the second method).

    It minimises the sum of ``(r_ji p_i - r_ij p_j)²`` over the pairs, with probabilities that add up to one.
    """
    against = np.zeros((len(of_first), n_classes, n_classes))
    first, second = np.triu_indices(n_classes, 1)
    against[:, first, second] = of_first
    against[:, second, first] = 1.0 - of_first
    system = np.ones((len(of_first), n_classes + 1, n_classes + 1))
    system[:, :n_classes, :n_classes] = -against.transpose(0, 2, 1) * against
    own = np.arange(n_classes)
    system[:, own, own] = (against**2).sum(axis=1)
    system[:, n_classes, n_classes] = 0.0
    wanted = np.zeros((len(of_first), n_classes + 1, 1))
    wanted[:, n_classes] = 1.0
    proba = np.clip(np.linalg.solve(system, wanted)[:, :n_classes, 0], 0.0, 1.0)
    return proba / proba.sum(axis=1, keepdims=True)
