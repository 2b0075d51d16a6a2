"""Reads the file of a transformers image processor as `Preprocessing`; neither transformers nor torch is needed."""

import json
import math
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurestore.backbones.preprocessing import Preprocessing, changed
from featurestore.errors import BackboneError
from featurestore.files import read_file, why

FILE, NEWER_FILE = "preprocessor_config.json", "processor_config.json"
LARGEST_JSON = 1 << 20
# More than any of these models takes: a larger side would only fill the memory.
LARGEST_SIDE, MOST_PATCHES = 2048, 4096
# Pillow's filters by their numbers in the files.
FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")

_CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_CROPPED = {"size": {"shortest_edge": 224}, "crop_size": 224, "do_center_crop": True, "square": False}
_ALL: dict[str, Any] = {
    "do_resize": True,
    "do_center_crop": False,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "size": 224,
    "resample": 3,
    # Whether a whole number as `size` means both sides, not the shortest.
    "square": True,
}
_MOBILENET = {**_HALF, **_CROPPED, "resample": 2, "size": {"shortest_edge": 256}}
# What a processor does where its file says nothing, as its class in transformers has it.
KINDS: dict[str, Mapping[str, Any]] = {
    "BeitImageProcessor": {**_HALF, "crop_size": 224},
    "BitImageProcessor": {**_CLIP, **_CROPPED},
    "BlipImageProcessor": {**_CLIP, "size": 384},
    "ChineseCLIPImageProcessor": {**_CLIP, **_CROPPED},
    "CLIPImageProcessor": {**_CLIP, **_CROPPED},
    "ConvNextImageProcessor": {**_HALF, "size": {"shortest_edge": 384}, "crop_pct": 224 / 256, "square": False},
    "DeiTImageProcessor": {**_HALF, "size": 256, "crop_size": 224, "do_center_crop": True},
    "DINOv3ViTImageProcessor": {**_IMAGENET, "resample": 2},
    "EfficientNetImageProcessor": {
        **_HALF, "size": 346, "crop_size": 289, "rescale_offset": False, "include_top": True,
    },
    "MobileNetV1ImageProcessor": _MOBILENET,
    "MobileNetV2ImageProcessor": _MOBILENET,
    "MobileViTImageProcessor": {**_CROPPED, "crop_size": 256, "do_flip_channel_order": True},
    "PvtImageProcessor": _IMAGENET,
    "SiglipImageProcessor": {**_HALF, "size": {"height": 224, "width": 224}, "square": False},
    "Siglip2ImageProcessor": {**_HALF, "resample": 2, "patch_size": 16, "max_num_patches": 256},
    "ViTImageProcessor": {**_HALF, "resample": 2},
}  # fmt: skip
# The processor of older files that don't name theirs.
OF_FAMILIES = {
    "beit": "Beit", "clip": "CLIP", "convnext": "ConvNext", "convnextv2": "ConvNext", "data2vec-vision": "Beit",
    "deit": "DeiT", "dinov2": "Bit", "dinov2_with_registers": "Bit", "efficientnet": "EfficientNet", "ijepa": "ViT",
    "mobilenet_v1": "MobileNetV1", "mobilenet_v2": "MobileNetV2", "mobilevit": "MobileViT", "regnet": "ConvNext",
    "resnet": "ConvNext", "siglip": "Siglip", "siglip2": "Siglip2", "swin": "ViT", "swinv2": "ViT", "vit": "ViT",
    "vit_mae": "ViT", "vit_msn": "ViT",
}  # fmt: skip


def from_json(path: Path) -> Preprocessing:
    """What the image processor in ``path``, such as ``preprocessor_config.json``, does to an image; NCHW, float32.

    Where the file does not name its processor, a ``config.json`` in the same folder tells the model's family.

    Raises
    ------
    BackboneError
        When it can't be read, is of an unknown processor, or asks for steps that `Preprocessing` does not have.
    """
    found = read_json(path)
    nested = found.get("image_processor")
    settings = nested if isinstance(nested, dict) else found
    kind = _kind(settings, path)
    asked = {**_ALL, **KINDS[kind], **{name: value for name, value in settings.items() if value is not None}}
    try:
        return changed(Preprocessing(), {"layout": "NCHW", **_numbers(kind, asked), **_geometry(kind, asked)})
    except BackboneError as error:
        raise BackboneError(f"{path} can't be followed ({error}): correct the file") from error


def read_json(path: Path, *, limit: int = LARGEST_JSON) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises
    ------
    BackboneError
        When the file can't be read, is larger than ``limit`` bytes, or holds anything but a JSON object.
    """
    try:
        value = json.loads(read_file(path, limit=limit))
    except OSError as error:
        raise BackboneError(f"{path} can't be read ({why(error)}): get the model's files again") from error
    except (ValueError, RecursionError) as error:  # also bytes that are no UTF-8
        raise BackboneError(f"{path} is not JSON: get the model's files again") from error
    if not isinstance(value, dict):
        raise BackboneError(f"{path} holds no JSON object: get the model's files again")
    return value


def _kind(settings: Mapping[str, Any], path: Path) -> str:
    """The processor's class, without the endings that tell how it is implemented."""
    named = settings.get("image_processor_type") or settings.get("feature_extractor_type")
    if named is None:
        beside = path.with_name("config.json")
        family = read_json(beside).get("model_type") if beside.is_file() else None
        if not isinstance(family, str) or family not in OF_FAMILIES:
            raise BackboneError(f"{path} does not name its image_processor_type: add it, one of {', '.join(KINDS)}")
        named = f"{OF_FAMILIES[family]}ImageProcessor"
    text = str(named)[:200].removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    if text not in KINDS:
        raise BackboneError(
            f"{path} is of the image processor {text[:60]!r}, known are {', '.join(sorted(KINDS))}: move the file away "
            "and give what it says by --preprocessing FIELD=VALUE"
        )
    return text


def _numbers(kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Scale, mean and standard deviation: ``(pixel * factor - offset - mean) / std``, with a factor of 1/255 or 1."""
    factor = _number("rescale_factor", asked) if _flag("do_rescale", asked) else 1.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if _flag("do_normalize", asked) and kind != "MobileViTImageProcessor":
        mean, std = _triple("image_mean", asked), _triple("image_std", asked)
    if kind == "EfficientNetImageProcessor":
        if _flag("rescale_offset", asked):
            mean = tuple(value + 1.0 for value in mean)
        if _flag("include_top", asked):  # divides once more
            std = tuple(value * other for value, other in zip(std, _triple("image_std", asked), strict=True))
    unit = _flag("do_rescale", asked)
    times = factor * 255 if unit else 1.0
    if not math.isclose(times, 1.0, rel_tol=1e-6):
        mean, std = tuple(value / times for value in mean), tuple(value / times for value in std)
    return {
        "scale": "unit" if unit else "raw",
        "mean": mean if any(mean) else (),
        "std": std if any(value != 1.0 for value in std) else (),
        "color": "BGR" if _flag("do_flip_channel_order", asked) else "RGB",
    }


def _geometry(kind: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Resize, crop and size."""
    how = {"interpolation": _filter(asked["resample"])}
    if not _flag("do_resize", asked):
        raise BackboneError("got do_resize=false, expected images of one size")
    if kind == "Siglip2ImageProcessor":
        patch, most = (_whole(asked[name], name) for name in ("patch_size", "max_num_patches"))
        if patch > LARGEST_SIDE or most > MOST_PATCHES or patch * patch * most > LARGEST_SIDE**2:
            raise BackboneError(f"got {most} patches of {patch} pixels, expected at most {MOST_PATCHES} small ones")
        return {**how, "resize": "patches", "patch": patch, "max_patches": most}
    height, width, shortest = _size(asked["size"], "size", square=bool(asked["square"]))
    if kind == "ConvNextImageProcessor":
        return how | _convnext(shortest or height, asked)
    if _flag("do_center_crop", asked):
        high, wide, _ = _size(asked.get("crop_size"), "crop_size", square=True)
        if not shortest and (height, width) == (high, wide):
            return how | {"resize": "stretch", "height": high, "width": wide}
        if not shortest and height != width:
            raise BackboneError(f"got a size of {height} × {width} before a crop, expected a square")
        return how | {
            "resize": "shortest" if shortest else "stretch", "edge": shortest or height, "height": high, "width": wide,
        }  # fmt: skip
    if shortest:
        raise BackboneError(f"got shortest_edge={shortest} without a crop, expected images of one size")
    return how | {"resize": "stretch", "height": height, "width": width}


def _convnext(side: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    """ConvNeXt crops the centre of a larger image where the side is less than 384, else it stretches."""
    if side >= 384:
        return {"resize": "stretch", "height": side, "width": side}
    part = _number("crop_pct", asked)
    if not 0.1 <= part <= 1:
        raise BackboneError(f"got crop_pct={part}, expected 0.1 to 1")
    return {"resize": "shortest", "edge": int(side / part), "height": side, "width": side}


def _size(value: object, name: str, *, square: bool) -> tuple[int, int, int]:
    """Height and width, or the length of the shortest side; what is not asked for is 0."""
    if isinstance(value, dict):
        names = {key for key, one in value.items() if one is not None}
        if names == {"height", "width"}:
            return _whole(value["height"], name), _whole(value["width"], name), 0
        if names == {"shortest_edge"}:
            return 0, 0, _whole(value["shortest_edge"], name)
    elif isinstance(value, list) and len(value) == 2:
        return _whole(value[0], name), _whole(value[1], name), 0
    elif isinstance(value, int):
        side = _whole(value, name)
        return (side, side, 0) if square else (0, 0, side)
    raise BackboneError(f"got {name}={reprlib.repr(value)}, expected height and width, or shortest_edge")


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_SIDE:
        raise BackboneError(f"got {name}={reprlib.repr(value)}, expected whole numbers of 1 to {LARGEST_SIDE}")
    return value


def _flag(name: str, asked: Mapping[str, Any]) -> bool:
    value = asked.get(name, False)
    if not isinstance(value, bool):
        raise BackboneError(f"got {name}={reprlib.repr(value)}, expected true or false")
    return value


def _number(name: str, asked: Mapping[str, Any]) -> float:
    value = asked[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-6 <= value <= 1e6:
        raise BackboneError(f"got {name}={reprlib.repr(value)}, expected a number above 0")
    return float(value)


def _triple(name: str, asked: Mapping[str, Any]) -> tuple[float, ...]:
    """A number for each of the three channels."""
    given = asked.get(name)
    values: list[Any] = given if isinstance(given, list) else [given] * 3
    if len(values) != 3 or not all(isinstance(one, int | float) and abs(one) <= 1e6 for one in values):
        raise BackboneError(f"got {name}={reprlib.repr(given)}, expected a number for each of the three channels")
    return tuple(float(one) for one in values)


def _filter(value: object) -> str:
    if isinstance(value, str) and value.lower() in FILTERS:
        return value.lower()
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(FILTERS):
        return FILTERS[value]
    raise BackboneError(f"got resample={reprlib.repr(value)}, expected 0 to {len(FILTERS) - 1}")
