"""Fine-tuning of the last layer as the study did it: every epoch sends every poster through the whole network."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.finetune.frozen_features import HEIGHT, WIDTH, normalised
from benchmarks.finetune.recipes import Recipe
from benchmarks.finetune.weights import Weights
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.collections.images import decode


class StudyLoop:
    """The recipe ``head`` without a cache; the seconds of each epoch are kept."""

    def __init__(self, recipe: Recipe, weights: Weights, *, seed: int = 0) -> None:
        self.recipe = recipe
        self.seed = seed
        self.network: Any = weights.network(seed=0).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.embed_dim = weights.embed_dim
        self.epoch_seconds: list[float] = []

    def fit(self, paths: Sequence[Path], codes: NDArray[np.int64], *, epochs: int | None = None) -> "StudyLoop":
        """Decode, forward, one step of Adam on the new layer; ``epochs`` of them."""
        targets = torch.from_numpy(codes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.last = nn.Linear(self.embed_dim, int(codes.max()) + 1)
            nn.init.xavier_uniform_(self.last.weight)
            nn.init.zeros_(self.last.bias)
            optimizer = torch.optim.Adam(self.last.parameters(), lr=self.recipe.learning_rate, eps=1e-7, fused=True)
            for _ in range(epochs or self.recipe.epochs):
                started = time.perf_counter()
                for rows in torch.randperm(len(paths)).split(self.recipe.batch_size):
                    optimizer.zero_grad()
                    logits = self.last(self._frozen([paths[int(row)] for row in rows]))
                    nn.functional.cross_entropy(logits, targets[rows]).backward()
                    optimizer.step()
                self.epoch_seconds.append(time.perf_counter() - started)
        return self

    def predict_proba(self, paths: Sequence[Path]) -> NDArray[np.float32]:
        """``(len(paths), n_classes)``."""
        with torch.no_grad():
            return self.last(self._frozen(paths)).softmax(dim=1).numpy()

    def _frozen(self, paths: Sequence[Path]) -> torch.Tensor:
        pixels = np.stack([decode(path.read_bytes(), Preprocessing(HEIGHT, WIDTH)) for path in paths])
        with torch.no_grad():
            return self.network(normalised(torch.from_numpy(pixels))).pooler_output.flatten(1)
