"""Embeds image files that need not be in a store; it stores nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone
from featurestore.backbones.passes import BATCH_SIZE, forward, pass_images
from featurestore.collections.images import load_pixels
from featurestore.embedding.vectors import faults
from featurestore.errors import ImageError, InputError


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
