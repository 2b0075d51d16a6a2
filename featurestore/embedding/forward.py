"""Runs one checked forward pass, and embeds image files that need not be in a store; it stores nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone
from featurestore.backbones.custom import checked
from featurestore.collections.images import load_image
from featurestore.embedding.vectors import faults
from featurestore.errors import BackboneError, FeatureStoreError, ImageError, InputError


def forward(backbone: Backbone, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One forward pass over decoded ``images`` ``(n, height, width, 3)``, preprocessed and checked.

    Raises
    ------
    BackboneError
        When the backbone raises, or the result is not ``(n, embed_dim)`` floats.
    """
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
    how = backbone.spec.preprocessing
    vectors = np.empty((len(paths), backbone.spec.embed_dim), np.float32)
    for row, path in enumerate(map(str, paths)):
        try:
            image = load_image(path, height=how.height, width=how.width, pipes=True)
        except ImageError as error:
            raise InputError(f"the image {path!r} can't be used ({error}): name another") from error
        vectors[row] = forward(backbone, image[None])
        for reason in faults(vectors[row : row + 1]).values():
            raise InputError(f"the image {path!r} can't be used ({reason}): use another image or backbone")
    return vectors
