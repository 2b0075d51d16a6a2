"""Every kind of image becomes upright RGB."""

import io

import numpy as np
import pytest
from image_files import encoded, picture
from PIL import Image, ImageOps
from support import jpeg

from featurestore.backbones.preprocessing import Preprocessing
from featurestore.collections import rgb
from featurestore.collections.images import content_hash, decode, difference_hash, inspect
from featurestore.errors import ImageError

GRADIENT = np.linspace(0, 255, 32 * 24).reshape(32, 24)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LA", "YCbCr"])
def test_each_mode_becomes_rgb(mode: str) -> None:
    form = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    image = Image.fromarray(GRADIENT.astype(np.uint8)).convert("RGB").convert(mode)
    pixels = decode(encoded(image, form), Preprocessing(32, 24))
    assert pixels.shape == (32, 24, 3)
    assert pixels.dtype == np.uint8
    assert pixels[0].mean() < 60
    assert pixels[-1].mean() > 190


def test_sixteen_bits_keep_their_gradient() -> None:
    image = Image.fromarray((GRADIENT * 257).astype(np.uint16))
    pixels = decode(encoded(image), Preprocessing(32, 24))
    assert np.abs(pixels[..., 0].astype(float) - GRADIENT).max() <= 1


def test_transparency_is_laid_over_white() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (decode(encoded(image), Preprocessing(8, 8)) == 255).all()


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert tuple(decode(content, Preprocessing(8, 8))[0, 0]) == (255, 0, 0)


def test_exif_orientation_is_obeyed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90° clockwise to be upright
    left_dark = Image.fromarray(np.tile(np.linspace(0, 255, 40).astype(np.uint8), (20, 1))).convert("RGB")
    pixels = decode(encoded(left_dark, "JPEG", exif=exif), Preprocessing(40, 20))
    assert pixels[0].mean() < 30
    assert pixels[-1].mean() > 220


def test_facts_are_those_of_the_file() -> None:
    content = jpeg(3, size=(182, 268), mode="L")
    facts = inspect(content)
    assert (facts.width, facts.height, facts.mode, facts.size_bytes) == (182, 268, "L", len(content))
    assert facts.content_hash == content_hash(content)
    assert not facts.synthetic


@pytest.mark.parametrize("end", [2, 20, 200, 600])
def test_a_truncated_jpeg_is_no_image(end: int) -> None:
    with pytest.raises(ImageError):
        inspect(jpeg(5, size=(182, 268))[:end])


@pytest.mark.parametrize("orientation", range(10))
def test_each_orientation_is_that_of_pillow(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture(1), "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    width, height = expected.size
    assert (decode(content, Preprocessing(height, width)) == np.asarray(expected)).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "LAB", "YCbCr", "I;16", "I", "F", "F of 0 to 1"])
def test_strips_are_as_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(
        picture(1, mode), "PNG" if mode == "P" else "TIFF", **({"transparency": 9} if mode == "P" else {})
    )
    whole = decode(content, Preprocessing(48, 40))
    monkeypatch.setattr(rgb, "STRIP_PIXELS", 7 * 40)
    assert (decode(content, Preprocessing(48, 40)) == whole).all()


def test_a_colour_that_is_transparent_is_white() -> None:
    image = Image.new("RGB", (8, 8), (1, 2, 3))
    assert (decode(encoded(image, transparency=(1, 2, 3)), Preprocessing(8, 8)) == 255).all()


def test_floats_of_0_to_1_fill_the_range() -> None:
    image = Image.fromarray((GRADIENT / 255).astype(np.float32))
    pixels = decode(encoded(image, "TIFF"), Preprocessing(32, 24))
    assert np.abs(pixels[..., 0].astype(float) - GRADIENT).max() <= 1


def test_a_black_image_of_floats_stays_black() -> None:
    assert (decode(encoded(Image.new("F", (8, 8)), "TIFF"), Preprocessing(8, 8)) == 0).all()


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {}),
        ("RGB", {"progressive": True}),
        ("RGB", {"subsampling": 0}),
        ("RGB", {"keep_rgb": True}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_hash_of_a_jpeg_without_its_colours_is_that_of_its_pixels(
    mode: str, options: dict[str, bool], orientation: int
) -> None:
    colours = np.random.default_rng(5).integers(0, 255, (8, 6, 3), np.uint8)
    image = Image.fromarray(colours).resize((182, 268), Image.Resampling.BICUBIC).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(image, "JPEG", exif=exif, **options)
    facts = inspect(content)
    assert (facts.width, facts.height, facts.mode) == (182, 268, mode)
    width, height = (182, 268) if orientation == 1 else (268, 182)
    pixels = difference_hash(Image.fromarray(decode(content, Preprocessing(height, width))))
    assert (int(facts.phash, 16) ^ int(pixels, 16)).bit_count() <= 1
    with pytest.raises(ImageError, match="truncated"):
        inspect(content[: len(content) // 2])
