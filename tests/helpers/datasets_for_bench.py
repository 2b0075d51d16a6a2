"""Small data sets for the tests of the bench, without a store."""

import numpy as np

from benchmarks.plan.dataset import EmbeddingDataset


def plain_dataset(n: int, d: int, *, classes: int = 3, seed: int = 0) -> EmbeddingDataset:
    """Gaussian vectors with a weak signal, no duplicates."""
    rng = np.random.default_rng(seed)
    y = (np.arange(n) % classes).astype(np.int64)
    X = rng.normal(size=(n, d)).astype(np.float32) + 0.3 * rng.normal(size=(classes, d)).astype(np.float32)[y] + 1
    return EmbeddingDataset(
        X=X,
        y=y,
        ids=np.arange(n, dtype=np.int32),
        groups=np.arange(n),
        classes=tuple(f"c{i}" for i in range(classes)),
        backbone="b",
        revision="r",
        view="labeled",
        label="Genre1",
        state_id="s",
        synthetic=True,
    )
