"""The study's reshaped-vector head: the vector as a picture, a frozen VGG19 over it, a dense layer."""

import hashlib
import math
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from torch import nn

from benchmarks.heads.base import Classifier
from benchmarks.heads.hub import hub_answers
from benchmarks.heads.input_check import refusing_nan
from benchmarks.heads.mlp import TorchMLP
from benchmarks.heads.named_files import check_named
from featurestore._optional import import_extra
from featurestore.errors import InputError

IMAGENET = "timm/vgg19.tv_in1k"
# Widths of the convolutions; a pooling behind each block (Simonyan & Zisserman, 2015, configuration E).
BLOCKS = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)
# Five poolings leave one pixel of 32.
SMALLEST_SIDE = 32
BATCH = 64
# Vectors whose features a process keeps, 4 KB each: they are the same in every fold.
KEPT = 20_000


class VGG19Base(TransformerMixin, BaseEstimator):
    """A vector of length ``d`` folded to a picture of three equal channels, through VGG19's frozen convolutions.

    Parameters
    ----------
    weights
        ``imagenet``, or a file: ``.safetensors`` with torchvision's names, or the ``.h5`` that Keras publishes
        as ``…_notop``.
    """

    def __init__(self, *, weights: str = "imagenet") -> None:
        self.weights = weights

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the settings; a model of somebody else names no file."""
        super().__setstate__(state)
        if self.weights != "imagenet":
            check_named(str(self.weights))

    def fit(self, X: Any, y: Any = None) -> "VGG19Base":
        """Learns nothing; sees whether weights and length do."""
        self.n_features_in_ = X.shape[1]
        self.shape_ = folded(X.shape[1])
        # A stored model holds where the network is, not the network.
        self.network_sha256_ = _base(self.weights).sha256
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """``(n, d)`` → ``(n, h // 32 · w // 32 · 512)`` float32; each vector once a process.

        Raises
        ------
        InputError
            When the weights are others than those that `fit` saw.
        """
        network, known, sha256 = _base(self.weights)
        if sha256 != self.network_sha256_:
            raise InputError(
                f"the VGG19 weights {self.weights!r} are others than those that the model was fitted with "
                f"(sha256 of the tensors {self.network_sha256_[:12]}, got {sha256[:12]}): bring the first ones back"
            )
        rows = np.ascontiguousarray(X, np.float32)
        names = [hashlib.sha256(row.data).digest() for row in rows]
        missing = {name: row for name, row in zip(names, rows, strict=True) if name not in known}
        fresh: dict[bytes, NDArray[np.float32]] = {}
        with torch.inference_mode():
            for start in range(0, len(missing), BATCH):
                part = list(missing.items())[start : start + BATCH]
                pictures = torch.from_numpy(np.stack([row for _, row in part])).reshape(-1, 1, *self.shape_)
                maps = network(pictures.expand(-1, 3, -1, -1)).flatten(1).numpy()
                fresh |= {name: values for (name, _), values in zip(part, maps, strict=True)}
        answer = np.stack([known[name] if name in known else fresh[name] for name in names])
        if len(known) + len(fresh) <= KEPT:
            known.update(fresh)
        return answer


def folded(length: int) -> tuple[int, int]:
    """Height and width of the picture of a vector, as near to 1 : 2 as ``length`` can be divided.

    >>> folded(2048)
    (32, 64)

    Raises
    ------
    InputError
        When it can't be divided into sides that five poolings leave something of.
    """
    shapes = [
        (height, length // height)
        for height in range(SMALLEST_SIDE, length // SMALLEST_SIDE + 1)
        if length % height == 0 and height <= length // height
    ]
    if not shapes:
        raise InputError(
            f"vectors of length {length} can't be folded into a picture for VGG19, whose sides must be "
            f"{SMALLEST_SIDE} or more: use a backbone of length 2048, as the study did, or another head"
        )
    return min(shapes, key=lambda shape: abs(math.log(shape[1] / shape[0] / 2)))


def convolutions() -> nn.Sequential:
    """VGG19 without its dense layers, numbered as torchvision numbers it."""
    layers: list[nn.Module] = []
    channels = 3
    for block in BLOCKS:
        for width in block:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class _Base(NamedTuple):
    """The loaded network, what it has answered in this process, and the hash of its tensors."""

    network: nn.Sequential
    known: dict[bytes, NDArray[np.float32]]
    sha256: str


@lru_cache(maxsize=2)
def _base(weights: str) -> _Base:
    path = _published() if weights == "imagenet" else Path(weights).expanduser()
    if isinstance(path, str):
        raise InputError(path)
    if not path.is_file():
        raise InputError(f"there is no file of VGG19 weights {str(path)!r}: give a .safetensors or Keras .h5 file")
    try:
        tensors = _from_keras(path) if path.suffix in (".h5", ".hdf5") else _from_torchvision(path)
        with torch.device("meta"):
            network = convolutions()
        network.load_state_dict(tensors, assign=True)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{str(path)!r} doesn't hold the convolutions of VGG19: expected torchvision's names in .safetensors, "
            "or the .h5 that Keras publishes"
        ) from error
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.contiguous().numpy().tobytes())
    return _Base(network.eval().requires_grad_(False), {}, digest.hexdigest())


@lru_cache(maxsize=1)
def _published() -> Path | str:
    """The file in the hub's cache, else from the hub; or why not, kept so that no other fold asks again."""
    hub = import_extra("huggingface_hub", "bench", needed_by="the weights of VGG19")
    try:
        local = not hub_answers()
        return Path(hub.hf_hub_download(IMAGENET, "model.safetensors", local_files_only=local))
    except Exception as error:  # the hub's client raises errors of several libraries
        return (
            f"the ImageNet weights of VGG19 ({IMAGENET}) are not in the cache of the Hugging Face hub and can't be "
            f"fetched ({type(error).__name__}): give a local file"
        )


def _from_torchvision(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return {name.removeprefix("features."): value for name, value in tensors.items() if name.startswith("features.")}


def _from_keras(path: Path) -> dict[str, torch.Tensor]:
    """Kernels ``(3, 3, in, out)`` and biases of ``block1_conv1`` … ``block5_conv4``."""
    arrays: dict[tuple[str, int], NDArray[np.float32]] = {}

    def keep(name: str, value: Any) -> None:
        layer = re.search(r"block\d_conv\d", name)
        if layer and hasattr(value, "ndim"):
            arrays[layer.group(), value.ndim] = np.asarray(value, np.float32)

    with import_extra("h5py", "bench", needed_by="reading Keras weights").File(path) as file:
        file.visititems(keep)
    numbers = [number for number, layer in enumerate(convolutions()) if isinstance(layer, nn.Conv2d)]
    layers = [f"block{b + 1}_conv{c + 1}" for b, block in enumerate(BLOCKS) for c in range(len(block))]
    tensors = {}
    for number, layer in zip(numbers, layers, strict=True):
        tensors[f"{number}.weight"] = torch.from_numpy(arrays[layer, 4].transpose(3, 2, 0, 1).copy())
        tensors[f"{number}.bias"] = torch.from_numpy(arrays[layer, 1])
    return tensors


def build_vgg(*, seed: int, weights: str = "imagenet", epochs: int = 25) -> Classifier:
    """Dense 512 with dropout 0.5 over the frozen convolutions, Adam 1e-3, batch 32, as in the study."""
    dense = TorchMLP(hidden=(512,), dropouts=1, dropout=0.5, learning_rate=1e-3, epochs=epochs, random_state=seed)
    return refusing_nan(make_pipeline(VGG19Base(weights=weights), dense))
