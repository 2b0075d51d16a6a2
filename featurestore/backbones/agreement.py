"""How far the vectors of two backbones are apart, on images that need no files."""

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone, Preprocessing

IMAGES = 8
# Squares of the coarsest and the finest layer of a generated image, along each side.
LAYERS = (2, 5, 12, 40)


def generated_images(how: Preprocessing, count: int) -> NDArray[np.uint8]:
    """``(count, height, width, 3)`` uint8 RGB: colour patches of several sizes, the same each time."""
    random = np.random.default_rng(0)
    images = np.zeros((count, how.height, how.width, 3), np.float32)
    for layer in LAYERS:
        patches = random.uniform(0, 255, (count, layer, layer, 3)).astype(np.float32)
        rows = np.arange(how.height) * layer // how.height
        columns = np.arange(how.width) * layer // how.width
        images += patches[:, rows][:, :, columns]
    spread = images / len(LAYERS)
    return np.clip((spread - 127.5) * 2 + 127.5, 0, 255).astype(np.uint8)


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
