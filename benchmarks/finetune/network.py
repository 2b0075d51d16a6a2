"""Trains the last stage, or everything, with a new last layer; it knows tensors and recipes, no stores and no files."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.finetune.frozen_features import FrozenImages, normalised
from benchmarks.finetune.recipes import Recipe
from benchmarks.finetune.tensor_cache import CachedTensors
from benchmarks.finetune.weights import Weights
from featurestore.progress import Progress

LOGISTIC_C = 0.001
MAX_GRADIENT_NORM = 1.0


def fit(
    recipe: Recipe,
    images: FrozenImages,
    train: NDArray[np.int64],
    codes: NDArray[np.int64],
    *,
    seed: int,
    weights: Weights,
    on_progress: Progress | None = None,
) -> Callable[[NDArray[np.int64]], Any]:
    """Train on the rows ``train`` with classes ``codes`` ``(n_train,)``; gives a function of test rows.

    On a GPU when there is one, there in mixed precision. On a CPU a seed gives the same numbers again.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs = images["maps" if recipe.trained == "stage" else "pixels"]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _network(recipe, weights, n_classes=int(codes.max()) + 1, seed=seed)
        if recipe.logistic_start:
            _start_logistic(model[-1], images["pooled"].take(train).numpy(), codes)
        # Channels last is the faster order for convolutions, on CPU and GPU.
        model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        _train(model, recipe, inputs, train, torch.from_numpy(codes), device=device, on_progress=on_progress)
    model.eval()
    return lambda rows: _predict(model, recipe, inputs, rows, device)


def _network(recipe: Recipe, weights: Weights, *, n_classes: int, seed: int) -> nn.Sequential:
    """The trained part; begins where ``recipe.inputs`` end and ends with the new layer, started as the study's was."""
    base = weights.network(seed=seed)
    stages = list(base.encoder.stages)
    body = [stages[-1]] if recipe.trained == "stage" else [base.embedder, *stages]
    last = nn.Linear(weights.embed_dim, n_classes)
    nn.init.xavier_uniform_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)


def _start_logistic(last: Any, pooled: NDArray[np.float32], codes: NDArray[np.int64]) -> None:
    """Put the solution of logistic regression, standardised as the head of that name, into the last layer."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    if len(np.unique(codes)) < 2:
        return
    scaler = StandardScaler().fit(pooled)
    with threadpool_limits(1):  # too small to share
        model = LogisticRegression(C=LOGISTIC_C, max_iter=2000).fit(scaler.transform(pooled), codes)
    coefficients, intercepts = model.coef_ / scaler.scale_, model.intercept_
    if len(coefficients) == 1:  # two classes: scikit-learn keeps the difference of their rows
        coefficients, intercepts = np.concatenate([-coefficients, coefficients]) / 2, intercepts * [-0.5, 0.5]
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(coefficients))
        last.bias.copy_(torch.from_numpy(intercepts - coefficients @ scaler.mean_))


def _train(
    model: nn.Sequential,
    recipe: Recipe,
    inputs: CachedTensors,
    train: NDArray[np.int64],
    codes: torch.Tensor,
    *,
    device: torch.device,
    on_progress: Progress | None,
) -> None:
    on_gpu = device.type == "cuda"
    optimizer = _optimizer(model, recipe)
    steps = -(-len(train) // recipe.batch_size)
    schedule = _schedule(optimizer, recipe, steps)
    scaler = torch.amp.GradScaler("cuda", enabled=on_gpu)
    loss_of = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    # Pretrained statistics stay as they are: batches of 32 images say less than ImageNet did.
    model.train(recipe.trained == "all")
    for epoch in range(recipe.epochs):
        for rows in torch.randperm(len(train)).split(recipe.batch_size):
            if len(rows) == 1 and recipe.trained == "all":
                continue  # batch statistics of one image don't exist
            batch = _augmented(inputs.take(train[rows.numpy()]).to(device), recipe)
            targets = codes[rows].to(device)
            share, others = _mix(recipe, len(rows))
            with torch.autocast("cuda", torch.float16, enabled=on_gpu):
                logits = model(share * batch + (1 - share) * batch[others] if share < 1 else batch)
                loss = share * loss_of(logits, targets) + (1 - share) * loss_of(logits, targets[others])
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            if recipe.optimizer == "adamw":  # the study's Adam went without
                nn.utils.clip_grad_norm_(model.parameters(), MAX_GRADIENT_NORM)
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
        if on_progress:
            on_progress(epoch + 1, recipe.epochs)


def _optimizer(model: nn.Sequential, recipe: Recipe) -> torch.optim.Optimizer:
    """Weights decay, biases and batch norm don't; the last layer has a rate of its own."""
    groups = []
    for part, rate in ((model[:-1], recipe.body_learning_rate), (model[-1], recipe.learning_rate)):
        for matrices, decay in ((True, recipe.weight_decay), (False, 0.0)):
            chosen = [parameter for parameter in part.parameters() if (parameter.ndim > 1) == matrices]
            groups.append({"params": chosen, "lr": rate, "weight_decay": decay})
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return kind([group for group in groups if group["params"]], eps=1e-7)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, steps: int) -> Any:
    from transformers import get_constant_schedule, get_cosine_schedule_with_warmup

    if recipe.schedule == "constant":
        return get_constant_schedule(optimizer)
    return get_cosine_schedule_with_warmup(optimizer, steps, steps * recipe.epochs)


def _augmented(batch: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Every row as it is or mirrored: maps hold both, pixels are turned here."""
    flips = torch.rand(len(batch)) < 0.5 if recipe.flip else torch.zeros(len(batch), dtype=torch.bool)
    if recipe.trained == "stage":
        return _maps(batch[torch.arange(len(batch)), flips.long()])
    flips = flips.to(batch.device)
    return normalised(torch.where(flips[:, None, None, None], batch.flip(2), batch))


def _maps(batch: torch.Tensor) -> torch.Tensor:
    return batch.float().contiguous(memory_format=torch.channels_last)


def _mix(recipe: Recipe, rows: int) -> tuple[float, torch.Tensor]:
    """The share of the first of two rows that are blended, and the other rows (Zhang et al., mixup, 2018)."""
    if not recipe.mixup:
        return 1.0, torch.arange(rows)
    share = torch.distributions.Beta(recipe.mixup, recipe.mixup).sample().item()
    return max(share, 1 - share), torch.randperm(rows)


def _views(batch: torch.Tensor, recipe: Recipe) -> Iterator[torch.Tensor]:
    """What is averaged to predict: the image, and its mirror image where training saw it."""
    for flipped in (False, True) if recipe.flip else (False,):
        if recipe.trained == "stage":
            yield _maps(batch[:, int(flipped)])
        else:
            yield normalised(batch.flip(2) if flipped else batch)


def _predict(
    model: nn.Sequential, recipe: Recipe, inputs: CachedTensors, rows: NDArray[np.int64], device: torch.device
) -> NDArray[np.float32]:
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), recipe.batch_size):
            batch = inputs.take(rows[start : start + recipe.batch_size]).to(device)
            views = [model(view).float().softmax(dim=1) for view in _views(batch, recipe)]
            parts.append(torch.stack(views).mean(dim=0).cpu())
    return torch.cat(parts).numpy()
