"""Runs one checked forward pass, and embeds image files that need not be in a store; it stores nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.backbones.custom import checked
from featurestore.collections.images import load_pixels
from featurestore.embedding.vectors import faults
from featurestore.errors import BackboneError, FeatureStoreError, ImageError, InputError

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


def embed_files(backbone: Backbone, paths: Sequence[str | Path]) -> NDArray[np.float32]:
    """The vectors ``(n, embed_dim)`` float32 of image files, computed exactly as by ``embed``; no store is needed.

    Parameters
    ----------
    paths
        Image files in the order of the rows; pipes are allowed.

    Raises
    ------
    InputError
        When a file can't be read or is not a usable image, or its vector holds NaN or infinity or is constant.
    BackboneError
        When the backbone raises or returns the wrong shape.
    """
    vectors = np.empty((len(paths), backbone.spec.embed_dim), np.float32)
    size = pass_images(backbone.spec, BATCH_SIZE)
    for start in range(0, len(paths), size):
        some = [str(path) for path in paths[start : start + size]]
        found = forward(backbone, [_pixels(backbone, path) for path in some])
        for row, reason in faults(found).items():
            raise InputError(f"the image {some[row]!r} can't be used ({reason}): use another image or backbone")
        vectors[start : start + len(some)] = found
    return vectors


def _pixels(backbone: Backbone, path: str) -> NDArray[np.uint8]:
    try:
        return load_pixels(path, backbone.spec.preprocessing, pipes=True)
    except ImageError as error:
        raise InputError(f"the image {path!r} can't be used ({error}): name another") from error
