"""Draft decoding: a large JPEG is decoded at a smaller scale and hardly differs; all other images do not differ."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from featurestore.backbones.preprocessing import Preprocessing
from featurestore.collections.images import decode

FULL = Preprocessing(224, 224)
DRAFT = replace(FULL, decode="draft")
SIZE = (4000, 3000)
# EXIF tag 274: how the camera was held.
ORIENTATION = 274


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """A generated image of 12 megapixels: a gradient with soft shapes and some noise, as a camera makes them."""
    rng = np.random.default_rng(0)
    shapes = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)
    grain = Image.fromarray(rng.integers(0, 24, (300, 400, 3), np.uint8)).resize(SIZE, Image.Resampling.BILINEAR)
    return Image.blend(shapes, grain, 0.3)


def saved(image: Image.Image, kind: str = "JPEG", *, orientation: int = 1) -> bytes:
    """The bytes of an image file."""
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(buffer, kind, exif=exif, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_jpeg_hardly_differs(photograph: Image.Image, orientation: int) -> None:
    content = saved(photograph, orientation=orientation)
    full, draft = (decode(content, how).astype(int) for how in (FULL, DRAFT))
    assert (full != draft).any(), "it was decoded at a smaller scale"
    assert np.abs(full - draft).mean() < 1.0
    assert np.abs(full - draft).max() <= 16


@pytest.mark.parametrize(("kind", "size"), [("JPEG", (182, 268)), ("JPEG", (800, 600)), ("PNG", (900, 900))])
def test_small_ones_and_other_formats_do_not_differ(photograph: Image.Image, kind: str, size: tuple[int, int]) -> None:
    content = saved(photograph.resize(size), kind)
    np.testing.assert_array_equal(decode(content, DRAFT), decode(content, FULL))


def test_the_scale_follows_the_shortest_side(photograph: Image.Image) -> None:
    """With a crop the image is resized to more than the input, so that fewer pixels may be left out."""
    content = saved(photograph.resize((1600, 1200)))
    crop = replace(FULL, resize="shortest", edge=400)
    np.testing.assert_array_equal(decode(content, replace(crop, decode="draft")), decode(content, crop))
    assert (decode(content, DRAFT) != decode(content, FULL)).any()
