"""Frozen inputs of fine-tuning, computed once an image and cached: pooled features, maps, pixels; no labels."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.finetune.tensor_cache import CachedTensors, TensorCache
from benchmarks.finetune.weights import Weights
from featurestore import ImageAddress, load_image
from featurestore.errors import ImageError, InputError
from featurestore.progress import Progress

if TYPE_CHECKING:
    from transformers import ResNetModel

# The study showed whole posters, 182 wide and 268 high.
HEIGHT, WIDTH = 268, 182
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 32
# Raise it when a stage computes something else.
VERSION = 1

FrozenImages = Mapping[str, CachedTensors]


def preprocessing() -> dict[str, object]:
    """What is done to an image before the network sees it; part of every key."""
    return {"height": HEIGHT, "width": WIDTH, "mean": MEAN, "std": STD, "resize": "bilinear", "version": VERSION}


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """``(n, height, width, 3)`` uint8 → ``(n, 3, height, width)`` float32 as ImageNet networks want it."""
    mean, std = (torch.tensor(values, device=pixels.device) for values in (MEAN, STD))
    # A transposed view is what the library calls channels-last, its faster order.
    return ((pixels / 255.0 - mean) / std).permute(0, 3, 1, 2)


def _pooled(network: "ResNetModel", pixels: torch.Tensor) -> torch.Tensor:
    return network(normalised(pixels)).pooler_output.flatten(1)


def _mirrored(network: "ResNetModel", pixels: torch.Tensor) -> torch.Tensor:
    return _pooled(network, pixels.flip(2))


def _maps(network: "ResNetModel", pixels: torch.Tensor) -> torch.Tensor:
    # Half precision: 0.8 MB an image instead of 1.7. Strided layers don't commute with mirroring: both are computed.
    both = []
    for view in (pixels, pixels.flip(2)):
        hidden = network.embedder(normalised(view))
        for stage in network.encoder.stages[:-1]:
            hidden = stage(hidden)
        both.append(hidden.half())
    return torch.stack(both, dim=1)


def _pixels(network: "ResNetModel", pixels: torch.Tensor) -> torch.Tensor:
    return pixels


@dataclass(frozen=True)
class Stage:
    """How a stage is computed from ``(n, height, width, 3)`` uint8, and whether the network has a part in it."""

    compute: Callable[["ResNetModel", torch.Tensor], torch.Tensor]
    needs_network: bool = True


# pooled, mirrored (of the mirror image): (2048,) float32; maps: (2, 1024, 17, 12) float16, image and mirror image;
# pixels: (268, 182, 3) uint8.
STAGES = {
    "pooled": Stage(_pooled),
    "mirrored": Stage(_mirrored),
    "maps": Stage(_maps),
    "pixels": Stage(_pixels, needs_network=False),
}


def features(
    paths: Sequence[ImageAddress],
    content_hashes: Sequence[str],
    weights: Weights,
    *,
    stage: str,
    cache_dir: Path,
    on_progress: Progress | None = None,
) -> CachedTensors:
    """One frozen tensor an image, in the order of ``paths``; those in the cache are not computed, nor read again.

    Parameters
    ----------
    content_hashes
        SHA-256 of each file's bytes, as the store's view ``images`` tells; equal bytes are computed once.
    stage
        A name in `STAGES`.
    cache_dir
        Batches are kept below it as they are finished: an interrupted call goes on from there.

    Raises
    ------
    InputError
        When a file is gone or has changed, the cache can't be written, or the network answers with NaN.
    """
    packs = TensorCache(_folder(cache_dir, stage, weights))
    missing = {name: path for name, path in zip(content_hashes, paths, strict=True) if name not in packs}
    if missing:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network: Any = weights.network(seed=0)
        network = network.to(device, memory_format=torch.channels_last).eval()
        names, compute = list(missing), STAGES[stage].compute
        for start in range(0, len(names), BATCH):
            batch = names[start : start + BATCH]
            pixels = torch.from_numpy(np.stack([_read(missing[name], name) for name in batch]))
            with torch.inference_mode():
                tensors = compute(network, pixels.to(device)).cpu()
            if tensors.is_floating_point() and not torch.isfinite(tensors).all():
                raise InputError(f"the weights {weights.name!r} give NaN or infinity on images: they can't be used")
            packs.add(dict(zip(batch, tensors, strict=True)))
            if on_progress:
                on_progress(start + len(batch), len(names))
    return packs.rows(content_hashes)


def _folder(cache_dir: Path, stage: str, weights: Weights) -> Path:
    key = {"preprocessing": preprocessing(), "weights": weights.sha256 if STAGES[stage].needs_network else ""}
    return cache_dir / "finetune" / f"{stage}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"


def _read(path: ImageAddress, expected: str) -> np.ndarray:
    try:
        return load_image(path, height=HEIGHT, width=WIDTH, sha256=expected)
    except ImageError as error:
        raise InputError(
            f"the image {str(path)!r} can't be used ({error}): bring it back, or ingest the folder where it is now"
        ) from error
