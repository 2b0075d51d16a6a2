"""Forward passes of one shape: pads short batches and checks what a backbone returns; it reads no images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.backbones.custom import checked
from featurestore.errors import BackboneError, FeatureStoreError

# Images of a forward pass, where the user does not say how many.
BATCH_SIZE = 32


def forward(
    backbone: Backbone, images: Sequence[NDArray[np.uint8]], *, batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """The checked vectors ``(n, embed_dim)`` of ``images``, ``(height, width, 3)`` uint8 RGB each.

    Every forward pass has the same shape: with another one a network may sum in another order, so that a vector would
    depend on the size of its batch. A short batch is padded with copies of its last image, unless the backbone
    computes each image by itself.

    Parameters
    ----------
    batch_size
        Images of a pass; ``pass_size`` of the spec takes its place where it is not 0.

    Raises
    ------
    BackboneError
        When the backbone raises, or the result is not ``(n, embed_dim)`` floats.
    """
    spec = backbone.spec
    size = len(images) if spec.pass_size == 1 else spec.pass_size or batch_size
    found = []
    for start in range(0, len(images), size):
        some = list(images[start : start + size])
        found.append(_pass(backbone, some + some[-1:] * (size - len(some)))[: len(some)])
    return np.concatenate(found)


def pass_images(spec: BackboneSpec, batch_size: int) -> int:
    """The number of images to hand to `forward` at once: ``batch_size``, rounded up to whole passes of the spec."""
    return -(-batch_size // max(1, spec.pass_size)) * max(1, spec.pass_size)


def _pass(backbone: Backbone, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    spec = backbone.spec
    try:
        vectors = backbone.embed(spec.preprocessing.apply(images))
    except FeatureStoreError:
        raise
    except Exception as error:  # a user's callable may raise anything
        raise BackboneError(f"the backbone {spec.name!r} failed with {type(error).__name__}: {error}") from error
    return checked(vectors, spec, len(images))
