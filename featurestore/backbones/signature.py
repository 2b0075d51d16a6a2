"""What a model's signature says of its image input, as preprocessing; it knows no engine."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from featurestore.backbones.preprocessing import Preprocessing
from featurestore.backbones.records import LoadOptions
from featurestore.errors import BackboneError

Layout = Literal["NHWC", "NCHW"]
SIDE = 224
KINDS = ("float32", "float16", "uint8")


@dataclass(frozen=True)
class ImageInput:
    """The input of a model: its shape, where None is a free length, and the name of its number type."""

    shape: tuple[int | None, ...]
    kind: str

    @property
    def layout(self) -> Layout | None:
        """The order of the axes; None when the signature doesn't say."""
        if len(self.shape) != 4:
            return None
        if self.shape[1] == 3 and self.shape[3] != 3:
            return "NCHW"
        return "NHWC" if self.shape[3] == 3 else None

    def sides(self, layout: Layout) -> tuple[int | None, int | None]:
        """Height and width, None where they are free."""
        return (self.shape[2], self.shape[3]) if layout == "NCHW" else (self.shape[1], self.shape[2])


def preprocessing_of(
    found: ImageInput, options: LoadOptions, place: Path, *, base: Preprocessing | None = None, layout: Layout = "NHWC"
) -> Preprocessing:
    """The preprocessing that ``found`` needs, with what the user changed.

    Parameters
    ----------
    base
        What the model's other files say; values in [0, 1] by default.
    layout
        The order of the axes where the signature doesn't say.

    Raises
    ------
    BackboneError
        When the input takes no images, or a change does not fit it.
    """
    if len(found.shape) != 4 or not (found.layout or {found.shape[1], found.shape[3]} & {None}):
        raise BackboneError(f"{str(place)!r} takes {_told(found.shape)}, expected images with three channels")
    if found.kind not in KINDS:
        raise BackboneError(
            f"{str(place)!r} takes images of {found.kind}, expected {', '.join(KINDS)}: export it again"
        )
    order = found.layout or layout
    high, wide = found.sides(order)
    default = base or Preprocessing(height=high or SIDE, width=wide or SIDE)
    default = replace(
        default,
        layout=order,
        dtype="float16" if found.kind == "float16" else "float32",
        scale="byte" if found.kind == "uint8" else default.scale,
    )
    chosen = options.preprocess(default)
    _check(chosen, found, place)
    return chosen


def input_shape(how: Preprocessing) -> tuple[int, int, int, int]:
    """The shape of one preprocessed image."""
    return (1, 3, how.height, how.width) if how.layout == "NCHW" else (1, how.height, how.width, 3)


def input_kind(how: Preprocessing) -> str:
    """The number type of a preprocessed image."""
    return "uint8" if how.scale == "byte" else how.dtype


def _check(chosen: Preprocessing, found: ImageInput, place: Path) -> None:
    high, wide = found.sides(chosen.layout)
    if found.layout not in (None, chosen.layout):
        raise BackboneError(f"{str(place)!r} takes {found.layout}, not {chosen.layout}: leave out the layout")
    if chosen.resize == "patches":
        raise BackboneError(f"{str(place)!r} takes whole images, not patches: choose another resize")
    if high not in (None, chosen.height) or wide not in (None, chosen.width):
        raise BackboneError(
            f"{str(place)!r} takes {high or 'any'} × {wide or 'any'} pixels, not {chosen.height} × {chosen.width}: set "
            "the preprocessing to that size"
        )
    if input_kind(chosen) != found.kind:
        expected = "the scale byte" if found.kind == "uint8" else f"the dtype {found.kind} and another scale than byte"
        raise BackboneError(
            f"{str(place)!r} takes {found.kind} images, the preprocessing makes {input_kind(chosen)}: use {expected}"
        )


def _told(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"
