"""How far the vectors of two backbones are apart, on images that need no files."""

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.base import Backbone, Preprocessing
from featurestore.backbones.geometry import fit

IMAGES = 8
# Squares of the coarsest and the finest layer of a generated image, along each side.
LAYERS = (2, 5, 12, 40)


def generated_images(how: Preprocessing, count: int) -> list[NDArray[np.uint8]]:
    """Colour patches of several sizes, always the same, as `geometry.fit` makes them.

    Returns
    -------
    ``count`` images ``(height, width, 3)`` uint8 RGB.
    """
    pillow = import_extra("PIL.Image", "embed", needed_by="preprocessing images")
    height, width = max(how.height, how.edge, LAYERS[-1]), max(how.width, how.edge, LAYERS[-1])
    random = np.random.default_rng(0)
    images = np.zeros((count, height, width, 3), np.float32)
    for layer in LAYERS:
        patches = random.uniform(0, 255, (count, layer, layer, 3)).astype(np.float32)
        rows = np.arange(height) * layer // height
        columns = np.arange(width) * layer // width
        images += patches[:, rows][:, :, columns]
    spread = images / len(LAYERS)
    pixels = np.clip((spread - 127.5) * 2 + 127.5, 0, 255).astype(np.uint8)
    return [fit(pillow.fromarray(one), how) for one in pixels]


def largest_difference(vectors: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """The largest absolute difference, as a share of the largest absolute value of ``reference``."""
    return float(np.abs(vectors - reference).max() / max(float(np.abs(reference).max()), np.finfo(np.float32).tiny))


def mean_cosine(vectors: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """The mean over the rows of the cosine of ``vectors`` and ``reference``, both ``(n, embed_dim)``."""
    first, second = vectors.astype(np.float64), reference.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(np.mean((first * second).sum(1) / np.maximum(lengths, np.finfo(np.float64).tiny)))


def cosine_of(backbone: Backbone, reference: Backbone) -> float:
    """The mean cosine of the vectors of two backbones of equal preprocessing on `IMAGES` generated images."""
    how = backbone.spec.preprocessing
    images = how.apply(generated_images(how, IMAGES))
    return mean_cosine(backbone.embed(images), reference.embed(images))
