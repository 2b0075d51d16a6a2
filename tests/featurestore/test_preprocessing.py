"""Preprocessing as data: sizes, crops, borders, numbers, and what counts for a revision."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from featurestore.backbones.base import BackboneSpec
from featurestore.backbones.geometry import draft_size, fit, resized_size
from featurestore.backbones.preprocessing import Preprocessing, changed
from featurestore.collections.images import decode
from featurestore.errors import BackboneError


def gradient(width: int, height: int) -> Image.Image:
    """A smooth image: red grows to the right, green downwards."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, 255 - red], -1).astype(np.uint8))


def jpeg(image: Image.Image, orientation: int | None = None) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    if orientation is not None:
        exif[274] = orientation
    image.save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("how", "size", "expected"),
    [
        (Preprocessing(20, 30), (100, 50), (30, 20)),
        (Preprocessing(20, 20, edge=25), (100, 50), (25, 25)),
        (Preprocessing(20, 20, resize="shortest", edge=24), (100, 50), (48, 24)),
        (Preprocessing(20, 20, resize="shortest", edge=24), (50, 101), (24, 48)),
        (Preprocessing(20, 20, resize="shortest"), (7, 7), (20, 20)),
        (Preprocessing(20, 20, resize="longest"), (100, 50), (20, 10)),
        (Preprocessing(20, 20, resize="longest"), (3, 1000), (1, 20)),
        (Preprocessing(resize="patches", patch=4, max_patches=9), (12, 12), (12, 12)),
        (Preprocessing(resize="patches", patch=4, max_patches=8), (400, 100), (16, 4)),
    ],
)
def test_the_size_of_the_resize(how: Preprocessing, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_size(size, how) == expected
    assert draft_size(size, how) == (2 * expected[0], 2 * expected[1])


def test_the_crop_is_the_centre() -> None:
    how = Preprocessing(4, 4, resize="shortest", edge=6)
    image = gradient(6, 8)
    assert np.array_equal(fit(image, how), np.asarray(image)[2:6, 1:5])


def test_the_border_has_the_fill() -> None:
    pixels = fit(Image.new("RGB", (20, 10), "white"), Preprocessing(20, 20, resize="longest", fill=(1, 2, 3)))
    assert (pixels[5:15] == 255).all()
    assert (pixels[:5] == (1, 2, 3)).all()
    assert (pixels[15:] == (1, 2, 3)).all()


def test_the_numbers() -> None:
    pixels = np.array([[[[0, 51, 255]]]], np.uint8)
    values = Preprocessing(1, 1, mean=(0.5, 0.2, 0.0), std=(0.5, 1, 2)).apply(pixels)
    np.testing.assert_allclose(values, [[[[-1, 0, 0.5]]]], atol=1e-7)
    raw = Preprocessing(1, 1, "raw", mean=(127,) * 3, std=(128,) * 3).apply(pixels)
    np.testing.assert_allclose(raw, [[[[-127 / 128, -76 / 128, 1]]]])
    assert Preprocessing(1, 1, "byte", "BGR").apply(pixels).tolist() == [[[[255, 51, 0]]]]
    first = Preprocessing(1, 1, layout="NCHW", dtype="float16").apply(pixels)
    assert (first.shape, first.dtype) == ((1, 3, 1, 1), np.float16)
    assert first.flags.c_contiguous


def test_patches_keep_their_order_and_say_where_they_end() -> None:
    how = Preprocessing(scale="raw", resize="patches", patch=2, max_patches=6)
    image = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    inputs = how.apply([image])
    assert isinstance(inputs, dict)
    assert inputs["spatial_shapes"].tolist() == [[1, 2]]
    assert inputs["pixel_attention_mask"].tolist() == [[1, 1, 0, 0, 0, 0]]
    np.testing.assert_array_equal(inputs["pixel_values"][0, 1], image[:, 2:].ravel())
    assert not inputs["pixel_values"][0, 2:].any()


def test_old_revisions_stay_and_each_new_field_makes_another() -> None:
    def revision(how: Preprocessing) -> str:
        return BackboneSpec("x", 3, how, "sha256:0").revision

    assert Preprocessing(96, 64, "signed").identity() == {"height": 96, "width": 64, "scale": "signed", "color": "RGB"}
    base = Preprocessing()
    others = [
        replace(base, resize="shortest"),
        replace(base, edge=256),
        replace(base, interpolation="bicubic"),
        replace(base, fill=(1, 1, 1)),
        replace(base, mean=(0.5, 0.5, 0.5)),
        replace(base, std=(0.5, 0.5, 0.5)),
        replace(base, layout="NCHW"),
        replace(base, dtype="float16"),
        replace(base, decode="draft"),
    ]
    assert len({revision(how) for how in [base, *others]}) == len(others) + 1


@pytest.mark.parametrize("how", [Preprocessing(64, 64), Preprocessing(64, 64, resize="shortest", edge=72)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_draft_differs_slightly(how: Preprocessing, orientation: int) -> None:
    content = jpeg(gradient(1600, 1200), orientation)
    draft, full = decode(content, replace(how, decode="draft")), decode(content, how)
    difference = np.abs(draft.astype(int) - full)
    assert difference.any(), "it was decoded at the full scale"
    assert difference.mean() < 1


def test_a_draft_of_a_small_image_is_the_image() -> None:
    how = Preprocessing(64, 64, decode="draft")
    content = jpeg(gradient(200, 180))
    np.testing.assert_array_equal(decode(content, how), decode(content, replace(how, decode="full")))


def test_changes_are_read_from_text() -> None:
    changes = {"resize": "shortest", "edge": "256", "mean": "0.5,0.4,0.3", "fill": "1,2,3", "interpolation": "bicubic"}
    how = changed(Preprocessing(), changes)
    assert (how.resize, how.edge, how.mean, how.fill) == ("shortest", 256, (0.5, 0.4, 0.3), (1, 2, 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hight": "3"}, "there is no preprocessing 'hight': did you mean 'height'"),
        ({"resize": "zoom"}, "got the preprocessing resize='zoom', expected one of stretch, shortest"),
        ({"edge": "many"}, "edge='many', expected a whole number"),
        ({"height": "0"}, "height='0', expected 1 to 8192 pixels"),
        ({"height": "99999"}, "expected 1 to 8192 pixels"),
        ({"mean": "0.5"}, "a finite number for each of the three channels"),
        ({"mean": "nan,0,0"}, "a finite number"),
        ({"std": "1,0,1"}, "expected no zero"),
        ({"fill": "1,2,300"}, "three values in 0 … 255"),
        ({"resize": "patches"}, "patch and max_patches with it"),
        ({"resize": "shortest", "edge": "100"}, "at least the 224 × 224 pixels"),
        ({"resize": "longest", "edge": "300"}, "at most the 224 × 224 pixels"),
    ],
)
def test_impossible_changes(changes: dict[str, str], message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        changed(Preprocessing(), changes)
