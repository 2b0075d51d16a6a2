"""The study's multilayer perceptrons, in torch, behind scikit-learn's interface."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from benchmarks.heads.base import Classifier
from benchmarks.heads.input_check import refusing_nan
from benchmarks.heads.torch_state import TorchState


class TorchMLP(TorchState, ClassifierMixin, BaseEstimator):
    """Dense layers with ReLU, dropout behind the first ``dropouts`` of them, softmax; Adam on the cross-entropy.

    Weights start as Keras starts them (Glorot uniform, biases zero), since the study's did.

    Parameters
    ----------
    hidden
        Widths of the hidden layers.
    dropouts, dropout
        Behind how many hidden layers, and at which rate.
    learning_rate, batch_size, epochs
        Of Adam.
    random_state
        Seed of the initial weights, the dropout and the order of the rows.
    """

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (512, 256),
        dropouts: int = 2,
        dropout: float = 0.5,
        learning_rate: float = 1e-3,
        batch_size: int = 32,
        epochs: int = 10,
        random_state: int = 0,
    ) -> None:
        self.hidden = hidden
        self.dropouts = dropouts
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.epochs = epochs
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "TorchMLP":
        """Train for ``epochs`` over ``X`` ``(n, d)`` and ``y`` ``(n,)``."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        inputs, targets = _tensor(X), torch.from_numpy(codes.astype(np.int64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            model = self._network(inputs.shape[1])
            optimizer = torch.optim.Adam(model.parameters(), lr=self.learning_rate, eps=1e-7, fused=True)
            loss_of = nn.CrossEntropyLoss()
            model.train()
            for _ in range(self.epochs):
                for rows in torch.randperm(len(inputs)).split(self.batch_size):
                    optimizer.zero_grad()
                    loss = loss_of(model(inputs[rows]), targets[rows])
                    loss.backward()
                    optimizer.step()
        self.model_ = model.eval()
        return self

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)`` float32, columns in the order of ``classes_``."""
        check_is_fitted(self)
        with torch.inference_mode():
            return self.model_(_tensor(X)).softmax(dim=1).numpy()

    def predict(self, X: Any) -> Any:
        """The most probable class."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _network(self, columns: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        widths = [columns, *self.hidden]
        for place, (before, after) in enumerate(pairwise(widths)):
            layers += [nn.Linear(before, after), nn.ReLU()]
            if place < self.dropouts:
                layers.append(nn.Dropout(self.dropout))
        layers.append(nn.Linear(widths[-1], len(self.classes_)))
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers)


def _tensor(X: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(X, np.float32))


def build_mlp(*, seed: int, hidden: Sequence[int], dropouts: int, learning_rate: float, epochs: int) -> Classifier:
    """Raw embeddings, as in the study."""
    model = TorchMLP(
        hidden=tuple(hidden), dropouts=dropouts, learning_rate=learning_rate, epochs=epochs, random_state=seed
    )
    return refusing_nan(model)
