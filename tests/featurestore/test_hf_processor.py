"""The files of image processors: the same pixels as transformers' own processors, and files that can't be followed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import needs
from tiny_models import DINOV3, MODELS

from featurestore.backbones import geometry
from featurestore.backbones.geometry import fit
from featurestore.backbones.hf.processor import KINDS, from_json
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.errors import BackboneError

needs("torch", "transformers")

# Odd, square, tall, wide, tiny, and very wide.
SIZES = [(45, 67), (64, 64), (31, 130), (333, 90), (5, 3), (301, 7)]
# One grey level, and what is lost where its numbers are taken back.
GREY = 1.001
PLAIN: dict[str, Any] = {name: made.processor for name, made in MODELS.items() if made.made}


def images() -> list[Any]:
    """Smooth and noisy pictures of each size."""
    from PIL import Image

    rng = np.random.default_rng(3)
    found = []
    for width, height in SIZES:
        found.append(Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)))
        found.append(found[-1].resize((9, 9)).resize((width, height), Image.Resampling.BICUBIC))
    return found


def written(folder: Path, settings: Any) -> Path:
    path = folder / "preprocessor_config.json"
    path.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return path


def grey_levels(values: np.ndarray, how: Preprocessing) -> np.ndarray:
    """``values`` ``(…, 3, height, width)`` before mean, standard deviation and scale."""
    channels = (3, 1, 1) if how.layout == "NCHW" else (3,)
    mean, std = np.reshape(how.mean or (0.0,) * 3, channels), np.reshape(how.std or (1.0,) * 3, channels)
    return (values * std + mean) * (255 if how.scale == "unit" else 1)


def difference(how: Preprocessing, theirs: Any) -> float:
    """The largest difference in grey levels between our numbers and those of ``theirs``, a function of one image."""
    largest = 0.0
    for image in images():
        ours = how.apply([fit(image, how)])
        other = theirs(image)
        if isinstance(ours, dict):
            np.testing.assert_array_equal(ours["spatial_shapes"], other["spatial_shapes"])
            np.testing.assert_array_equal(ours["pixel_attention_mask"], other["pixel_attention_mask"])
            apart = (ours["pixel_values"] - other["pixel_values"]) * (how.std[0] if how.std else 1) * 255
        else:
            assert ours.shape == np.shape(other["pixel_values"])
            assert ours.dtype == np.float32
            apart = grey_levels(ours, how) - grey_levels(np.asarray(other["pixel_values"]), how)
        largest = max(largest, float(np.abs(apart).max()))
    return largest


@pytest.mark.parametrize("family", PLAIN)
def test_pixels_of_each_family(family: str, tmp_path: Path) -> None:
    import transformers

    processor = getattr(transformers, MODELS[family].made)(**PLAIN[family])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": family}))
    largest = difference(
        from_json(written(tmp_path, PLAIN[family])), lambda image: processor(image, return_tensors="np")
    )
    print(f"largest difference: {largest:.3f} grey levels")
    assert largest <= GREY


# The crop of MobileViT is larger than what it crops where its file says nothing.
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"DINOv3ViTImageProcessor", "MobileViTImageProcessor"}))
def test_what_a_file_leaves_out_is_as_in_the_class(kind: str, tmp_path: Path) -> None:
    import transformers

    how = from_json(written(tmp_path, {"image_processor_type": kind}))
    assert how.layout == "NCHW"
    processor = getattr(transformers, f"{kind}Pil")()
    image = images()[1]
    ours, theirs = how.apply([fit(image, how)]), processor(image, return_tensors="np")["pixel_values"]
    ours = ours["pixel_values"] if isinstance(ours, dict) else ours
    assert np.abs(ours - theirs).max() * min(how.std or (1.0,)) * 255 <= GREY


def test_pixels_of_dinov3(tmp_path: Path) -> None:
    """Its processor needs torchvision: rescale, resize with antialiasing, normalise, in this order."""
    import torch

    def theirs(image: Any) -> dict[str, np.ndarray]:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() * DINOV3["rescale_factor"]
        pixels = torch.nn.functional.interpolate(
            pixels, size=(32, 32), mode="bilinear", antialias=True, align_corners=False
        )
        mean, std = (torch.tensor(DINOV3[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
        return {"pixel_values": ((pixels - mean) / std).numpy()}

    largest = difference(from_json(written(tmp_path, DINOV3)), theirs)
    print(f"largest difference: {largest:.3f} grey levels")
    assert largest <= GREY


@pytest.mark.parametrize(
    "changes",
    [
        {"do_rescale": False},
        {"do_normalize": False},
        {"do_rescale": False, "do_normalize": False},
        {"rescale_factor": 1 / 127.5},
        {"size": [32, 48]},
        {"size": {"height": 48, "width": 32}},
        {"image_mean": 0.5, "image_std": 0.25},
    ],
)
def test_switches(changes: dict[str, Any], tmp_path: Path) -> None:
    import transformers

    settings = {**MODELS["siglip"].processor, **changes}
    processor = transformers.SiglipImageProcessorPil(**settings)
    assert (
        difference(from_json(written(tmp_path, settings)), lambda image: processor(image, return_tensors="np")) <= GREY
    )


@pytest.mark.parametrize(
    ("changes", "value"),
    [({"rescale_offset": True, "rescale_factor": 1 / 127.5, "do_normalize": False, "include_top": False}, 1.0)],
)
def test_an_offset(changes: dict[str, Any], value: float, tmp_path: Path) -> None:
    how = from_json(written(tmp_path, {**MODELS["efficientnet"].processor, **changes}))
    white = how.apply(np.full((1, 32, 32, 3), 255, np.uint8))
    np.testing.assert_allclose(white, value, atol=1e-6)


def test_the_image_processor_within_a_processor(tmp_path: Path) -> None:
    settings = MODELS["clip"].processor
    nested = {"image_processor": settings, "processor_class": "CLIPProcessor"}
    assert from_json(written(tmp_path, nested)) == from_json(written(tmp_path, settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "holds no JSON object"),
        (" " * (1 << 20) + "{}", "can't be read"),
        ({"image_processor_type": "NewImageProcessor"}, "known are Beit"),
        ({}, "does not name its image_processor_type"),
        ({"image_processor_type": 7}, "known are Beit"),
        ({"do_resize": False}, "images of one size"),
        ({"do_resize": "yes"}, "true or false"),
        ({"size": 10**9}, "whole numbers of 1 to"),
        ({"size": -3}, "whole numbers of 1 to"),
        ({"size": True}, "whole numbers of 1 to"),
        ({"size": "large"}, "height and width, or shortest_edge"),
        ({"size": {"longest_edge": 32}}, "height and width, or shortest_edge"),
        ({"size": {"shortest_edge": 32}, "do_center_crop": False}, "without a crop"),
        ({"size": {"shortest_edge": 16}}, "edge"),
        ({"size": {"height": 40, "width": 50}}, "before a crop"),
        ({"crop_size": [32]}, "height and width, or shortest_edge"),
        ({"resample": 99}, "0 to 5"),
        ({"rescale_factor": "1/255"}, "a number above 0"),
        ({"image_std": [1, 2]}, "each of the three channels"),
        ({"image_std": [0, 1, 1]}, "no zero"),
        ({"image_mean": [float("nan"), 0, 0]}, "each of the three channels"),
        ({"image_mean": ["0", "0", "0"]}, "each of the three channels"),
        ({"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0, "size": 32}, "a number above 0"),
        ({"image_processor_type": "Siglip2ImageProcessor", "patch_size": 2000}, "small ones"),
    ],
)
def test_files_that_cannot_be_followed(settings: Any, message: str, tmp_path: Path) -> None:
    if isinstance(settings, dict) and settings and "image_processor_type" not in settings:
        settings = {**MODELS["clip"].processor, **settings}
    with pytest.raises(BackboneError, match=message) as raised:
        from_json(written(tmp_path, settings))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700


def test_a_strip_is_cut_before_it_is_resized(monkeypatch: pytest.MonkeyPatch) -> None:
    image = images()[-1]
    how = Preprocessing(32, 32, resize="shortest", edge=36)
    whole = fit(image, how)
    monkeypatch.setattr(geometry, "MOST_PIXELS", 1000)
    assert np.abs(fit(image, how).astype(int) - whole).max() <= 1


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="can't be read"):
        from_json(tmp_path / "preprocessor_config.json")
