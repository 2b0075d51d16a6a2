"""Forward passes of one shape: prepares images, pads short batches, checks the vectors; it reads no files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.backbones.custom import checked
from featurestore.backbones.preprocessing import Inputs
from featurestore.errors import BackboneError, FeatureStoreError

# Images of a forward pass, where the user does not say how many.
BATCH_SIZE = 32


@dataclass(frozen=True)
class Prepared:
    """What a backbone takes for some images, pass by pass.

    Parameters
    ----------
    count
        Number of images, without padding.
    passes
        For each pass its inputs, and its number of images with padding.
    """

    count: int
    passes: Sequence[tuple[Inputs, int]]


def forward(
    backbone: Backbone, images: Sequence[NDArray[np.uint8]], *, batch_size: int = BATCH_SIZE
) -> NDArray[np.float32]:
    """The checked vectors of ``images``: `prepare` and `run_passes`, with their arguments and errors."""
    return run_passes(backbone, prepare(backbone.spec, images, batch_size=batch_size))


def prepare(spec: BackboneSpec, images: Sequence[NDArray[np.uint8]], *, batch_size: int = BATCH_SIZE) -> Prepared:
    """The inputs of ``images``, ``(height, width, 3)`` uint8 RGB each, in passes of one shape.

    With another shape a network may sum in another order, so that a vector would depend on the size of its batch. A
    short batch is padded with copies of its last image, unless the backbone computes each image by itself.

    Parameters
    ----------
    batch_size
        Images of a pass; ``pass_size`` of the spec takes its place where it is not 0.
    """
    size = len(images) if spec.pass_size == 1 else spec.pass_size or batch_size
    passes = []
    for start in range(0, len(images), max(1, size)):
        some = list(images[start : start + size])
        passes.append((spec.preprocessing.apply(some + some[-1:] * (size - len(some))), size))
    return Prepared(len(images), passes)


def run_passes(backbone: Backbone, prepared: Prepared) -> NDArray[np.float32]:
    """The checked vectors ``(count, embed_dim)`` of prepared images.

    Raises
    ------
    BackboneError
        When the backbone raises, or the result is not ``(n, embed_dim)`` floats.
    """
    if not prepared.passes:
        return np.empty((0, backbone.spec.embed_dim), np.float32)
    return np.concatenate([_pass(backbone, *one) for one in prepared.passes])[: prepared.count]


def pass_images(spec: BackboneSpec, batch_size: int) -> int:
    """The number of images to prepare at once: ``batch_size``, rounded up to whole passes of the spec."""
    return -(-batch_size // max(1, spec.pass_size)) * max(1, spec.pass_size)


def _pass(backbone: Backbone, inputs: Inputs, images: int) -> NDArray[np.float32]:
    spec = backbone.spec
    try:
        vectors = backbone.embed(inputs)
    except FeatureStoreError:
        raise
    except Exception as error:  # a user's callable may raise anything
        raise BackboneError(f"the backbone {spec.name!r} failed with {type(error).__name__}: {error}") from error
    return checked(vectors, spec, images)
