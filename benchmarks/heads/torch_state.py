"""How a head with a torch network is saved: its tensors as NumPy arrays; loading builds its layers again."""

from typing import Any

import torch
from torch import nn


class TorchState:
    """A mixin before ``BaseEstimator``: ``model_`` is saved as arrays by name and restored as a network.

    The head brings ``_network(columns)``, which builds the layers for inputs of that width.
    """

    def _network(self, columns: int) -> nn.Sequential:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        """The attributes, with ``model_`` as ``{name: array}``."""
        state: dict[str, Any] = {**super().__getstate__()}  # type: ignore[dict-item]
        if "model_" in state:
            state["model_"] = {
                name: tensor.detach().cpu().numpy().copy() for name, tensor in state["model_"].state_dict().items()
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the attributes, and the network in evaluation mode."""
        arrays = state.get("model_")
        super().__setstate__({name: value for name, value in state.items() if name != "model_"})  # type: ignore[misc]
        if arrays is None:
            return
        first = next(array for array in arrays.values() if array.ndim == 2)
        # Nothing is drawn on `meta`: loading a model must not move the caller's random numbers.
        with torch.device("meta"):
            network = self._network(first.shape[1])
        network.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in arrays.items()}, assign=True)
        self.model_ = network.eval()
