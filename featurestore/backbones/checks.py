"""Checks of a loaded backbone on a few made-up images: it repeats itself, and a vector doesn't depend on its batch."""

from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.agreement import generated_images
from featurestore.backbones.base import Backbone
from featurestore.backbones.custom import CallableBackbone
from featurestore.backbones.passes import forward
from featurestore.errors import BackboneError

# Few, since a load waits for them: six forward passes of one image.
IMAGES = 2
# Largest difference between two runs of the same batch, and between a batch of one and a batch of many: parts of the
# largest value. In fewer bits than float32 another batch rounds differently, and only the direction is compared.
REPEATED, BATCHED, COSINE = 1e-6, 1e-5, 0.999

_seen: "WeakSet[Backbone]" = WeakSet()


def check(backbone: Backbone) -> Backbone:
    """``backbone`` itself, if its vectors are finite, repeat, and don't depend on the batch.

    Raises
    ------
    BackboneError
        When they don't; also what `passes.forward` raises.
    """
    spec = backbone.spec
    images = generated_images(spec.preprocessing, IMAGES)
    first, again, alone = (forward(backbone, some, batch_size=IMAGES) for some in (images, images, images[:1]))
    if not np.isfinite(first).all():
        raise BackboneError(
            f"the backbone {spec.name!r} gives NaN or infinity for an ordinary image: check its weights and its "
            "preprocessing"
        )
    largest = float(np.abs(first).max()) or 1.0
    change = float(np.abs(first - again).max()) / largest
    if not change <= REPEATED:
        raise BackboneError(
            f"the backbone {spec.name!r} gives other vectors for the same batch (by {change:.1g} of the largest): "
            "turn off dropout, random masking and training mode (in PyTorch: model.eval())"
        )
    if not _agree(first[:1], alone, largest, exact=spec.precision == "float32"):
        raise BackboneError(
            f"the vector of an image from the backbone {spec.name!r} depends on the other images of its batch: turn "
            "off training mode (batch normalisation), or let the model compute each image by itself"
        )
    return backbone


def check_once(backbone: Backbone) -> Backbone:
    """`check` a function of the user's the first time that it is used; other objects are used as they are."""
    if isinstance(backbone, CallableBackbone) and backbone not in _seen:
        _seen.add(check(backbone))
    return backbone


def _agree(one: NDArray[np.float32], other: NDArray[np.float32], largest: float, *, exact: bool) -> bool:
    if np.abs(one - other).max() <= BATCHED * largest:
        return True
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return not exact and lengths > 0 and float((one * other).sum()) >= COSINE * lengths
