"""Images to vectors: one checked forward pass."""

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone
from featurestore.backbones.custom import checked
from featurestore.errors import BackboneError, FeatureStoreError


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
