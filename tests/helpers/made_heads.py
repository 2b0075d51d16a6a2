"""Results of heads that are made by chance: what the statistics of a table are tried on."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from benchmarks.scores.inference import Inference, Results, Row, infer

FOLDS = 5


def drawn(
    rng: np.random.Generator,
    chances: Sequence[float | np.ndarray],
    *,
    luck: float | np.ndarray = 0.5,
    shift: float | np.ndarray = 0.0,
    repeats: int = 1,
    n: int = 811,
) -> Results:
    """Heads with given chances of being right.

    Each image has its own difficulty, each fit its own luck with each image (``luck``) and with all images of a test
    part (``shift``), in standard deviations of the difficulty.
    """
    heads = len(chances)
    luck, shift = (np.broadcast_to(one, heads).astype(float)[:, None] for one in (luck, shift))
    liking = rng.normal(size=(heads, n)) * 0.4 + rng.normal(size=n)
    scale = np.sqrt(1 + 0.4**2 + luck**2 + shift**2)
    bars = stats.norm.isf(np.array([np.broadcast_to(chance, n) for chance in chances]), scale=scale)
    folds = np.stack([rng.permutation(n) % FOLDS for _ in range(repeats)])
    right = np.empty((heads, repeats, n))
    for repeat in range(repeats):
        of_fits = (rng.normal(size=(heads, FOLDS)) * shift)[:, folds[repeat]]
        right[:, repeat] = liking + rng.normal(size=(heads, n)) * luck + of_fits > bars
    names: list[Row] = [("b", f"{head:02}") for head in range(heads)]
    return Results(dict(zip(names, right, strict=True)), folds, np.arange(n), 1 / (FOLDS - 1), binary=True)


def named_different(found: Inference) -> bool:
    """Whether anything that is said of the rows needs two of them to differ."""
    return len(found.best) < len(found.family) or any(low > 1 for low, _ in found.ranks.values())


def error_rate(*, runs: int, heads: int, repeats: int, shift: float | np.ndarray = 0.0, luck: float = 0.5) -> float:
    """How often any of equally good heads is said to differ from another."""
    rng = np.random.default_rng(7)
    tables = [infer(drawn(rng, [0.6] * heads, luck=luck, shift=shift, repeats=repeats)) for _ in range(runs)]
    return float(np.mean([named_different(found) for found in tables]))
