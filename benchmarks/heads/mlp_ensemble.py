"""A multilayer perceptron by a recipe of today: a seed ensemble with AdamW, cosine schedule and label smoothing."""

import math
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from benchmarks.heads.base import Classifier
from benchmarks.heads.scaling import PrincipalCoordinates


class MLPEnsemble(ClassifierMixin, BaseEstimator):
    """One hidden layer, several members that differ in initial weights, row order and dropout; the mean answers.

    All members train at once, as one batched product. Inputs are the leading principal components of the standardised
    rows: a network on all columns of a few hundred rows learns their noise.

    Parameters
    ----------
    members, hidden, components
        Numbers of networks, hidden units and inputs.
    epochs, batch_size, learning_rate, weight_decay, dropout, smoothing
        Of the training.
    random_state
        Seed of all that is random.
    """

    def __init__(
        self,
        *,
        members: int = 5,
        hidden: int = 256,
        components: int = 64,
        epochs: int = 15,
        batch_size: int = 64,
        learning_rate: float = 5e-4,
        weight_decay: float = 0.1,
        dropout: float = 0.5,
        smoothing: float = 0.1,
        random_state: int = 0,
    ) -> None:
        self.members = members
        self.hidden = hidden
        self.components = components
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.smoothing = smoothing
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "MLPEnsemble":
        """Train on ``X`` ``(n, d)`` and ``y`` ``(n,)``."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.space_ = PrincipalCoordinates("standard", self.components)
        rows = self.space_.fit_transform(X)
        # Leading components have most of the variance: one factor for all keeps their order of size.
        self.factor_ = 1.0 / (float(rows.std()) or 1.0)
        inputs = torch.from_numpy((rows * self.factor_).astype(np.float32))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            layers = self._train(inputs, torch.from_numpy(codes.astype(np.int64)))
        self.layers_ = [(weights.detach().numpy(), biases.detach().numpy()) for weights, biases in layers]
        return self

    def _train(self, inputs: torch.Tensor, targets: torch.Tensor) -> list[tuple[nn.Parameter, nn.Parameter]]:
        layers = [self._layer(inputs.shape[1], self.hidden), self._layer(self.hidden, len(self.classes_))]
        groups: list[dict[str, Any]] = [
            {"params": [weights for weights, _ in layers]},
            {"params": [biases for _, biases in layers], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(
            groups,
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            fused=True,
        )
        steps = self.epochs * math.ceil(len(inputs) / self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate * 3, total_steps=steps, pct_start=0.1
        )
        loss_of = nn.CrossEntropyLoss(label_smoothing=self.smoothing)
        for _ in range(self.epochs):
            order = torch.stack([torch.randperm(len(inputs)) for _ in range(self.members)])
            for rows in order.split(self.batch_size, dim=1):
                hidden = torch.relu(torch.baddbmm(layers[0][1], inputs[rows], layers[0][0]))
                hidden = nn.functional.dropout(hidden, self.dropout)
                logits = torch.baddbmm(layers[1][1], hidden, layers[1][0])
                optimizer.zero_grad()
                # Members share nothing, so the gradient of the sum is each one's own.
                loss = loss_of(logits.flatten(0, 1), targets[rows].flatten()) * self.members
                loss.backward()
                optimizer.step()
                schedule.step()
        return layers

    def _layer(self, columns: int, units: int) -> tuple[nn.Parameter, nn.Parameter]:
        weights = torch.empty(self.members, columns, units)
        for member in weights:
            nn.init.kaiming_normal_(member, mode="fan_out")  # stored as (columns, units): fan_out counts the columns
        return nn.Parameter(weights), nn.Parameter(torch.zeros(self.members, 1, units))

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)`` float64: the mean over the members."""
        check_is_fitted(self)
        rows = self.space_.transform(X) * self.factor_
        (first, first_bias), (second, second_bias) = self.layers_
        logits = np.maximum(rows @ first + first_bias, 0.0) @ second + second_bias
        raised = np.exp(logits - logits.max(axis=2, keepdims=True))
        return (raised / raised.sum(axis=2, keepdims=True)).mean(axis=0)

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def build_mlp_ensemble(*, seed: int, members: int, epochs: int) -> Classifier:
    """Five members train in one pass, and their mean varies less with the seed."""
    return MLPEnsemble(members=members, epochs=epochs, random_state=seed)
