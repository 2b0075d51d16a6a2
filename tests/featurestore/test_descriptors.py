"""The hand-crafted descriptors: finite for anything, the same in any batch, and not changed by accident."""

import sys
from pathlib import Path

import numpy as np
import pytest

from featurestore.backbones.descriptors import COLUMNS, HEIGHT, HUES, PATTERNS, ROWS, WIDTH, describe
from featurestore.backbones.patterns import patterns
from featurestore.backbones.registry import load
from featurestore.errors import BackboneError

sys.path.insert(0, str(Path(__file__).parents[1]))

from perf.worker import find


def picture(seed: int) -> np.ndarray:
    """Coloured noise with some structure."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 7, 3)).repeat(30, 0).repeat(27, 1)[:HEIGHT, :WIDTH]
    return (coarse * 0.8 + rng.integers(0, 50, (HEIGHT, WIDTH, 3))).astype(np.uint8)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_colour_is_finite(value: int) -> None:
    assert np.isfinite(describe(np.full((HEIGHT, WIDTH, 3), value, np.uint8))).all()


def test_a_grey_poster_is_finite_and_has_no_hue() -> None:
    vector = describe(picture(3).mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8))
    assert np.isfinite(vector).all()
    assert not vector[: ROWS * COLUMNS * HUES].any()


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
    assert len(vector) == 1332
    # Twelve stretches of 111 values, each summed with weights that see a change of order.
    got = (vector.reshape(12, 111) * np.linspace(0.5, 1.5, 111)).sum(1)
    np.testing.assert_allclose(got, PINNED, rtol=2e-5)


PINNED = [
    17.742496,
    37.673279,
    22.213062,
    27.418098,
    14.409796,
    6.949330,
    13.090124,
    16.699987,
    34.145385,
    35.213757,
    36.597514,
    35.069487,
]


def hard_pictures() -> list[np.ndarray]:
    """Noise, its grey, flat colours and the finest structure: where rounding could decide."""
    noise = np.random.default_rng(4).integers(0, 256, (HEIGHT, WIDTH, 3))
    board = np.indices((HEIGHT, WIDTH)).sum(0)[..., None].repeat(3, -1) % 2 * 255
    flat = [np.full((HEIGHT, WIDTH, 3), value) for value in (0, 1, 77, 255)]
    ramp = np.mgrid[:HEIGHT, :WIDTH].transpose(1, 2, 0) @ [[1, 0, 1], [0, 1, 1]] % 256
    grey = noise[..., :1].repeat(3, -1)
    return [picture(2), *(image.astype(np.uint8) for image in (noise, grey, board, ramp, *flat))]


def test_the_vectors_are_those_of_scikit_image() -> None:
    """The first version computed textures and gradients with that library; it is kept as a rival of the perf job."""
    before = find("descriptors_1.py:describe")
    for image in hard_pictures():
        np.testing.assert_allclose(describe(image), before(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("points", "radius"), [(points, radius) for points, radius, _ in PATTERNS])
def test_each_pattern_is_that_of_scikit_image(points: int, radius: int) -> None:
    feature = pytest.importorskip("skimage.feature")
    for image in hard_pictures():
        plane = image[:91, :57, 1]
        expected = feature.local_binary_pattern(plane, points, radius, "uniform")
        np.testing.assert_array_equal(patterns(plane, points, radius), expected)


def test_colour_and_layout_are_seen() -> None:
    image = picture(1)
    vector = describe(image)
    grey = image.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8)
    assert np.linalg.norm(vector - describe(grey)) > 1
    assert np.linalg.norm(vector - describe(image[::-1].copy())) > 1


def test_images_that_are_not_preprocessed_are_refused() -> None:
    backbone = load("descriptors", threads=1)
    assert backbone.embed(np.empty((0, HEIGHT, WIDTH, 3), np.uint8)).shape == (0, backbone.spec.embed_dim)
    for images in (np.zeros((1, 224, 224, 3), np.uint8), np.zeros((1, HEIGHT, WIDTH, 3), np.float32)):
        with pytest.raises(BackboneError, match=r"expected \(n, 268, 182, 3\) of uint8"):
            backbone.embed(images)


def test_the_preprocessing_is_its_own() -> None:
    from featurestore.backbones.base import Preprocessing

    with pytest.raises(BackboneError, match="takes no --preprocessing"):
        load("descriptors", preprocessing=Preprocessing())
