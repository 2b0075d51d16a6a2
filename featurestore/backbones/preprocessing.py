"""Preprocessing: how an image becomes a model's input, as data; `geometry` does the part before the numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from featurestore.errors import BackboneError, alike

Scale = Literal["unit", "signed", "raw", "byte"]
Resize = Literal["stretch", "shortest", "longest", "patches"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
# A model takes one array, or several by name (`patches`).
Inputs = NDArray[Any] | Mapping[str, NDArray[Any]]

# The fields of the first revisions, which are always part of the identity; the others only where they are set.
ORIGINAL = ("height", "width", "scale", "color")
LARGEST_SIDE = 8192


@dataclass(frozen=True)
class Preprocessing:
    """How a decoded RGB image becomes a model's input; it is part of the revision of an embedding.

    Parameters
    ----------
    height, width
        Size in pixels of the input. With ``patches`` they are not used.
    scale
        ``unit``: values in [0, 1]; ``signed``: in [-1, 1]; ``raw``: in [0, 255]; ``byte``: uint8 in 0 … 255.
    color
        Channel order, ``RGB`` or ``BGR``.
    resize
        ``stretch``: to the size, without keeping the aspect ratio. ``shortest``: the shortest side to ``edge``, then a
        centre crop. ``longest``: the longest side to ``edge``, then centred on ``fill``. ``patches``: to the
        largest size with the image's aspect ratio of at most ``max_patches`` patches, as NaFlex models take it.
    edge
        Length in pixels of the resized side; 0: that of the input. With ``stretch`` both sides are resized to it, and a
        centre crop follows.
    interpolation
        Pillow's filter of that name; all but ``nearest`` are antialiased.
    fill
        RGB colour in 0 … 255 of the border that ``longest`` adds.
    mean, std
        Subtracted from, then divided into, the scaled values of each channel in the order of ``color``; empty: none.
    layout
        Order of the axes: ``NHWC`` or ``NCHW``.
    dtype
        Number type of the input, ``float32`` or ``float16``; the scale ``byte`` is always uint8.
    decode
        ``full``, or ``draft``: a large JPEG is decoded at the smallest scale that is not below twice the size to which
        it is resized, which is several times as fast and changes pixels slightly.
    patch, max_patches
        With ``patches``: the side of a patch in pixels, and the number of patches of an input.
    """

    height: int = 224
    width: int = 224
    scale: Scale = "unit"
    color: Literal["RGB", "BGR"] = "RGB"
    resize: Resize = "stretch"
    edge: int = 0
    interpolation: Interpolation = "bilinear"
    fill: tuple[int, ...] = (0, 0, 0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: Literal["NHWC", "NCHW"] = "NHWC"
    dtype: Literal["float32", "float16"] = "float32"
    decode: Literal["full", "draft"] = "full"
    patch: int = 0
    max_patches: int = 0

    def identity(self) -> dict[str, Any]:
        """The fields by name, as JSON holds them; a later field is left out while it has its default.

        So the revisions of earlier vectors stay as they are.
        """
        default = Preprocessing()
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name in ORIGINAL or value != getattr(default, name)
        }

    def describe(self) -> str:
        """What is done to an image, in words."""
        size, edge = f"{self.height} × {self.width} pixels", self.edge
        crop = f", centre crop of {size}"
        fit = {
            "stretch": f"stretched to {edge} × {edge} pixels{crop}" if edge else f"stretched to {size}",
            "shortest": f"shortest side to {edge or min(self.height, self.width)} pixels{crop}",
            "longest": f"longest side to {edge or max(self.height, self.width)} pixels, padded to {size}",
            "patches": f"at most {self.max_patches} patches of {self.patch} × {self.patch} pixels",
        }[self.resize]
        values = {"unit": "0 to 1", "signed": "-1 to 1", "raw": "0 to 255", "byte": "bytes 0 to 255"}[self.scale]
        facts = [f"{fit}, {self.interpolation}", f"{self.color} {values}"]
        facts += [f"minus {_listed(self.mean)}"] if self.mean else []
        facts += [f"divided by {_listed(self.std)}"] if self.std else []
        facts += [self.layout] if self.layout != "NHWC" else []
        facts += [self.dtype] if self.dtype != "float32" else []
        facts += ["JPEG decoded at a smaller scale"] if self.decode == "draft" else []
        return "; ".join(facts)

    def apply(self, images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> Inputs:
        """The numbers of ``images``: ``(height, width, 3)`` uint8 RGB each, as `geometry.fit` makes them.

        Returns
        -------
        ``(n, height, width, 3)``, or ``(n, 3, height, width)`` for ``NCHW``; uint8 for ``byte``, else of ``dtype``.
        With ``patches`` the arrays ``pixel_values`` ``(n, max_patches, 3 × patch²)``, ``pixel_attention_mask``
        ``(n, max_patches)`` int32 and ``spatial_shapes`` ``(n, 2)`` int64 (rows and columns of patches).
        """
        if self.resize == "patches":
            return self._patches(images)
        values = self._values(images if isinstance(images, np.ndarray) else np.stack(images))
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2) if self.layout == "NCHW" else values)

    def _values(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """``pixels`` ``(…, 3)`` uint8 RGB, reordered, scaled and normalised."""
        if self.color == "BGR":
            pixels = pixels[..., ::-1]
        if self.scale == "byte":
            return pixels
        values = pixels.astype(np.float32)
        if self.scale == "unit":
            values /= 255.0
        elif self.scale == "signed":
            values /= 127.5
            values -= 1.0
        if self.mean:
            values -= np.array(self.mean, np.float32)
        if self.std:
            values /= np.array(self.std, np.float32)
        return values.astype(self.dtype, copy=False)

    def _patches(self, images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        side, most = self.patch, self.max_patches
        pixels = np.zeros((len(images), most, side * side * 3), self.dtype)
        mask = np.zeros((len(images), most), np.int32)
        shapes = np.zeros((len(images), 2), np.int64)
        for row, image in enumerate(images):
            high, wide = image.shape[0] // side, image.shape[1] // side
            cells = self._values(image).reshape(high, side, wide, side, 3).transpose(0, 2, 1, 3, 4)
            pixels[row, : high * wide] = cells.reshape(high * wide, -1)
            mask[row, : high * wide] = 1
            shapes[row] = high, wide
        return {"pixel_values": pixels, "pixel_attention_mask": mask, "spatial_shapes": shapes}


def changed(base: Preprocessing, changes: Preprocessing | Mapping[str, Any] | None) -> Preprocessing:
    """``base`` with ``changes``: some of its fields by name, as values or as text; or all of them; or none.

    >>> changed(Preprocessing(), {"resize": "shortest", "edge": "256", "mean": "0.5,0.5,0.5"}).edge
    256

    Raises
    ------
    BackboneError
        When there is no such field, or a value is not possible.
    """
    if isinstance(changes, Preprocessing):
        return _checked(changes)
    values = {name: _value(name, value) for name, value in (changes or {}).items()}
    return _checked(replace(base, **values))


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _value(name: str, value: object) -> Any:
    """``value`` as the type of the field ``name``; text is read as on the command line."""
    kind = get_type_hints(Preprocessing).get(name)
    if kind is None:
        known = [field.name for field in fields(Preprocessing)]
        raise BackboneError(
            f"there is no preprocessing {name!r}: {alike(name, known) or 'known are ' + ', '.join(known)}"
        )
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise _refused(name, value, f"one of {', '.join(get_args(kind))}")
    try:
        if get_origin(kind) is tuple:
            items = value.split(",") if isinstance(value, str) else value
            return tuple(get_args(kind)[0](item) for item in items)  # type: ignore[attr-defined]
        return kind(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _refused(name, value, "numbers such as 0.5,0.5,0.5" if get_origin(kind) else "a whole number") from error


def _checked(how: Preprocessing) -> Preprocessing:
    for name in ("height", "width"):
        if not 1 <= getattr(how, name) <= LARGEST_SIDE:
            raise _refused(name, getattr(how, name), f"1 to {LARGEST_SIDE} pixels")
    for name in ("edge", "patch", "max_patches"):
        if not 0 <= getattr(how, name) <= LARGEST_SIDE:
            raise _refused(name, getattr(how, name), f"0 to {LARGEST_SIDE}")
    for name in ("mean", "std"):
        if len(getattr(how, name)) not in (0, 3) or not np.isfinite(getattr(how, name)).all():
            raise _refused(name, getattr(how, name), "a finite number for each of the three channels, or none")
    if 0 in how.std:
        raise _refused("std", how.std, "no zero")
    if len(how.fill) != 3 or not all(0 <= value <= 255 for value in how.fill):
        raise _refused("fill", how.fill, "three values in 0 … 255")
    if how.resize == "patches" and not (how.patch and how.max_patches):
        raise _refused("resize", how.resize, "patch and max_patches with it")
    if how.resize in ("stretch", "shortest") and how.edge and how.edge < max(how.height, how.width):
        raise _refused("edge", how.edge, f"at least the {how.height} × {how.width} pixels that are cropped")
    if how.resize == "longest" and how.edge > min(how.height, how.width):
        raise _refused("edge", how.edge, f"at most the {how.height} × {how.width} pixels of the input")
    return how


def _refused(name: str, value: object, expected: str) -> BackboneError:
    return BackboneError(f"got the preprocessing {name}={str(value)[:60]!r}, expected {expected}")
