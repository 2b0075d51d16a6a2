"""The hand-crafted descriptors: finite for anything, the same in any batch, and not changed by accident."""

import numpy as np
import pytest

from featurestore.backbones.descriptors import HEIGHT, WIDTH, describe
from featurestore.backbones.registry import load
from featurestore.errors import BackboneError


def picture(seed: int) -> np.ndarray:
    """Coloured noise with some structure."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 7, 3)).repeat(30, 0).repeat(27, 1)[:HEIGHT, :WIDTH]
    return (coarse * 0.8 + rng.integers(0, 50, (HEIGHT, WIDTH, 3))).astype(np.uint8)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_colour_is_finite(value: int) -> None:
    assert np.isfinite(describe(np.full((HEIGHT, WIDTH, 3), value, np.uint8))).all()


def test_a_vector_does_not_depend_on_its_batch() -> None:
    backbone = load("descriptors", threads=2)
    images = np.stack([picture(seed) for seed in range(5)])
    together = backbone.embed(images)
    assert together.shape == (5, backbone.spec.embed_dim)
    assert together.dtype == np.float32
    for row, image in enumerate(images):
        np.testing.assert_array_equal(together[row], describe(image))


def test_a_change_of_the_vectors_needs_a_new_version() -> None:
    """Raise VERSION, then these figures, when this fails: stored vectors must never mix with new ones."""
    vector = describe(picture(7)).astype(float)
    weights = np.cos(np.arange(len(vector)))
    got = [len(vector), vector.sum(), vector @ weights, np.abs(vector).max()]
    np.testing.assert_allclose(got, PINNED, rtol=1e-3)


PINNED = [1332.0, 294.1953, -3.057, 1.0012]


def test_colour_and_layout_are_seen() -> None:
    image = picture(1)
    vector = describe(image)
    grey = image.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8)
    assert np.linalg.norm(vector - describe(grey)) > 1
    assert np.linalg.norm(vector - describe(image[::-1].copy())) > 1


def test_the_preprocessing_is_its_own() -> None:
    from featurestore.backbones.base import Preprocessing

    with pytest.raises(BackboneError, match="their own preprocessing"):
        load("descriptors", preprocessing=Preprocessing())
