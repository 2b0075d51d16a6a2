"""Runs a loaded torch model: each image by itself in threads on a CPU, in passes of one size on a GPU."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.memory import largest_pass
from featurestore.backbones.preprocessing import Inputs
from featurestore.backbones.torch_threads import cpu_has_bf16, single_threads
from featurestore.errors import BackboneError

DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class TorchEngine:
    """Where a model computes and in which precision.

    On a CPU each call takes one image and one thread, so that a vector can't depend on its batch. Images are laid out
    with their channels last, which is how the kernels of convolutions want them.

    Raises
    ------
    BackboneError
        When the device does not compute in ``precision``.
    """

    def __init__(self, torch: Any, *, precision: str, threads: int | None) -> None:
        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        check_precision(torch, precision, self.device)
        self.dtype = getattr(torch, DTYPES[precision])
        self.pass_size = 1
        self._pool = single_threads(torch, threads)

    @property
    def libraries(self) -> dict[str, str]:
        """The engine's packages, and CUDA where it computes."""
        found = {"torch": str(self.torch.__version__)}
        return found | ({"cuda": str(self.torch.version.cuda)} if self.device == "cuda" else {})

    def place(self, model: Any) -> Any:
        """``model`` on the device, ready to embed."""
        return model.eval().requires_grad_(False).to(self.device, memory_format=self.torch.channels_last)

    def choose_pass(self, attempt: Callable[[int], object]) -> tuple[str, ...]:
        """On a GPU, take as many images a pass as fit; ``attempt`` runs one of so many. Returns notes for the user."""
        if self.device == "cpu":
            return ()
        self.pass_size = largest_pass(attempt, out_of_memory=self.torch.cuda.OutOfMemoryError)
        return (f"each forward pass on the GPU takes {self.pass_size} images",)

    def run(self, function: Callable[[dict[str, Any]], Any], inputs: Inputs) -> NDArray[np.float32]:
        """``function`` of tensors by name, with rows of ``inputs``; its results ``(n, d)`` one below the other."""
        named = inputs if not isinstance(inputs, np.ndarray) else {"pixel_values": inputs}
        count = len(next(iter(named.values())))
        if self.device == "cuda":
            return self._pass(function, named)
        rows = [{name: values[row : row + 1] for name, values in named.items()} for row in range(count)]
        return np.concatenate(list(self._pool.map(lambda one: self._pass(function, one), rows)))

    def _pass(self, function: Callable[[dict[str, Any]], Any], named: Any) -> NDArray[np.float32]:
        tensors = {name: self._tensor(values) for name, values in named.items()}
        with self.torch.inference_mode():
            return np.asarray(function(tensors).float().cpu().numpy(), np.float32)

    def _tensor(self, values: NDArray[Any]) -> Any:
        tensor = self.torch.from_numpy(np.ascontiguousarray(values)).to(self.device)
        if tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=self.torch.channels_last)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor


def check_precision(torch: Any, precision: str, device: str) -> None:
    """Refuse a precision in which ``device``, ``cpu`` or ``cuda``, does not compute.

    Raises
    ------
    BackboneError
        When it doesn't.
    """
    if precision == "int8":
        raise BackboneError(
            "a model of transformers has no int8 here: use fp32 or bf16, or a TFLite, SavedModel or Keras model"
        )
    if precision == "fp16" and device == "cpu":
        raise BackboneError("fp16 is for GPUs, and torch finds none: use fp32 or bf16")
    if precision == "bf16" and not _has_bf16(torch, device):
        raise BackboneError("this machine does not compute in bf16: leave --precision out")


def _has_bf16(torch: Any, device: str) -> bool:
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return cpu_has_bf16(torch)
