"""Fits a recipe on one split and predicts its test rows, like `benchmarks.run.cell.run_cell` does for a head."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.finetune import network
from benchmarks.finetune.frozen_features import FrozenImages
from benchmarks.finetune.recipes import FROZEN_HEAD, Recipe
from benchmarks.finetune.weights import Weights
from benchmarks.heads.groups import fit_with_groups
from benchmarks.heads.registry import HEADS
from benchmarks.plan.cells import Outcome, named_reason
from benchmarks.plan.protocols import Split
from featurestore.progress import Progress

# Row numbers → probabilities over the classes of the training part.
Predict = Callable[[NDArray[np.int64]], Any]


def fit_predict(
    recipe: Recipe,
    images: FrozenImages,
    y: NDArray[np.int64],
    split: Split,
    *,
    groups: NDArray[np.int64] | None = None,
    n_classes: int,
    seed: int,
    weights: Weights,
    on_progress: Progress | None = None,
) -> Outcome:
    """Train on the split's training rows; whatever goes wrong becomes a row that says so.

    Parameters
    ----------
    recipe
        As `benchmarks.finetune.recipes.with_weights` gives it.
    images
        What `frozen_features.features` gives for each of ``recipe.inputs``, a row for each of ``y``.
    groups
        ``(n,)``: rows of one group are copies of an image.
    on_progress
        Called after each epoch; not by ``head`` and ``nothing``, which take a second.

    Returns
    -------
    Outcome
        ``proba`` ``(n_test, n_classes)`` float32. The times don't hold what is frozen, as those of heads on
        embeddings don't hold the backbone.
    """
    classes, codes = np.unique(y[split.train], return_inverse=True)
    fit: Any = {"head": _fit_head, "nothing": partial(_fit_nothing, groups=groups)}.get(recipe.trained, network.fit)
    try:
        started = time.perf_counter()
        predict: Predict = fit(
            recipe, images, split.train, codes.astype(np.int64), seed=seed, weights=weights, on_progress=on_progress
        )
        fitted = time.perf_counter()
        raw = np.asarray(predict(split.test))
        ended = time.perf_counter()
        if not np.isfinite(raw).all():
            raise ValueError("training diverged, its probabilities are NaN")
    except Exception as error:  # out of memory, a broken network: it fails alone
        return Outcome("failed", named_reason(error))
    proba = np.zeros((len(split.test), n_classes), np.float32)
    proba[:, classes] = raw
    return Outcome("ok", weights.message, proba, fitted - started, (ended - fitted) * 1000 / len(split.test))


def _fit_head(
    recipe: Recipe,
    images: FrozenImages,
    train: NDArray[np.int64],
    codes: NDArray[np.int64],
    *,
    seed: int,
    weights: Weights,
    on_progress: Progress | None = None,
) -> Predict:
    """A new last layer is an MLP without hidden layers over the pooled features."""
    from benchmarks.heads.mlp import TorchMLP

    layer = TorchMLP(
        hidden=(),
        dropouts=0,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        random_state=seed,
    )
    with _one_thread():
        layer.fit(images["pooled"].take(train).numpy(), codes)
    return lambda rows: layer.predict_proba(images["pooled"].take(rows).numpy())


def _fit_nothing(
    recipe: Recipe,
    images: FrozenImages,
    train: NDArray[np.int64],
    codes: NDArray[np.int64],
    *,
    groups: NDArray[np.int64] | None,
    seed: int,
    weights: Weights,
    on_progress: Progress | None = None,
) -> Predict:
    """A head of the table over the pooled features of the frozen network, or over their mean of both mirror images."""

    def rows_of(rows: NDArray[np.int64]) -> Any:
        return np.mean([images[stage].take(rows).numpy() for stage in recipe.inputs], axis=0, dtype=np.float32)

    model = HEADS[FROZEN_HEAD].build(seed=seed)
    with threadpool_limits(1):
        fit_with_groups(model, rows_of(train), codes, None if groups is None else groups[train])
    return lambda rows: model.predict_proba(rows_of(rows))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Batches of the last layer are too small to share: several threads only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
