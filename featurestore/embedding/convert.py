"""Converts a backbone once, so that it later needs no TensorFlow, and compares its vectors with the source's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones import conversion, converted
from featurestore.backbones.agreement import generated_images, largest_difference, mean_cosine
from featurestore.backbones.base import BackboneSpec, Preprocessing
from featurestore.backbones.card import CARD, FILES, ConversionCard, card_bytes
from featurestore.backbones.passes import forward
from featurestore.backbones.records import RECORDS, LoadOptions, store_name
from featurestore.backbones.tfhub import SavedModelBackbone
from featurestore.collections.images import load_pixels
from featurestore.errors import BackboneError, ImageError, InputError
from featurestore.files import atomic_folder, file_hash, why

# Images on which both are compared; how far apart they may be in fp32, as a share of the largest value; and in int8.
IMAGES = 16
FARTHEST = 1e-4
LOWEST_COSINE = 0.9
Writer = Callable[[SavedModelBackbone, Path], dict[str, str]]
WRITERS: dict[str, Writer] = {"fp32": conversion.to_openvino, "int8": conversion.to_litert}


@dataclass(frozen=True)
class Conversion:
    """The result of `convert_backbone`.

    Parameters
    ----------
    source_revision
        The revision of what was converted; in fp32 it is also that of the result.
    checked_on, images
        Which images, and how many, were embedded by both: ``generated`` or ``given``.
    largest_difference
        The largest difference to the source, as a share of the largest value.
    mean_cosine
        The mean cosine to the source.
    """

    folder: str
    backbone: str
    revision: str
    source_revision: str
    embed_dim: int
    precision: str
    size_bytes: int
    checked_on: str
    images: int
    largest_difference: float
    mean_cosine: float


def convert_backbone(
    source: str,
    output: str | Path,
    *,
    name: str | None = None,
    weights: str | Path | None = None,
    precision: Literal["fp32", "int8"] = "fp32",
    images: str | Path | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    synthetic: bool = False,
) -> Conversion:
    """Convert a TensorFlow backbone, so that ``converted:OUTPUT`` computes it without TensorFlow.

    Parameters
    ----------
    source
        ``savedmodel:DIR``, ``inception_v3``, ``resnet_v2_50`` or a ``.keras`` file.
    output
        The folder to write; one that an earlier conversion wrote is replaced.
    name, weights, preprocessing, synthetic
        As for `FeatureStore.embed`.
    precision
        ``fp32``: to OpenVINO, with the revision of the source. ``int8``: to LiteRT, its weights in 8 bits: smaller and
        several times as fast, with a revision of its own.
    images
        A folder of images on which both are compared; generated images by default.

    Raises
    ------
    BackboneError
        When the source can't be loaded or converted, or the vectors of both differ by more than 1e-4 of the largest
        value in fp32; nothing is written then.
    InputError
        When ``output`` holds something else, or ``images`` no usable image.
    """
    folder = Path(output)
    if precision not in WRITERS:
        raise InputError(f"got the precision {precision!r}, expected {' or '.join(WRITERS)}")
    _check_output(folder)
    options = LoadOptions(
        name=store_name(name) if name else conversion.default_name(source),
        named=name is not None,
        weights=None if weights is None else Path(weights),
        preprocessing=preprocessing,
        synthetic=synthetic,
    )
    loaded = conversion.load_source(source, options)
    pixels = _pixels(None if images is None else Path(images), loaded.spec.preprocessing)
    try:
        with atomic_folder(folder) as building:
            card, revision = _write(loaded, precision, pixels, building)
            card = replace(card, checked_on="generated" if images is None else "given")
            (building / CARD).write_bytes(card_bytes(card))
    except OSError as error:
        raise InputError(f"{str(folder)!r} can't be written ({why(error)}): name another folder") from error
    return _report(folder, card, revision, loaded.spec.revision)


def _write(
    loaded: SavedModelBackbone, precision: str, pixels: Sequence[NDArray[np.uint8]], folder: Path
) -> tuple[ConversionCard, str]:
    """Write the model into ``folder``, load it from there, and compare: the card, and the revision of the result."""
    card = _card(loaded.spec, precision, WRITERS[precision](loaded, folder), folder)
    (folder / CARD).write_bytes(card_bytes(card))
    result = converted.load(RECORDS["converted"], LoadOptions(name=card.name, target=folder))
    expected, found = forward(loaded, pixels), forward(result, pixels)
    distance, cosine = largest_difference(found, expected), mean_cosine(found, expected)
    # Written so that NaN is refused too.
    if not (distance <= FARTHEST if precision == "fp32" else cosine >= LOWEST_COSINE):
        raise BackboneError(
            f"the vectors of {loaded.spec.name} and of its conversion differ by {distance:.1e} of the largest value, "
            f"their mean cosine is {cosine:.4f}, expected at most {FARTHEST:.0e} in fp32, and at least {LOWEST_COSINE} "
            "in int8: embed with the source itself"
        )
    compared = replace(card, images=len(pixels), largest_difference=distance, mean_cosine=cosine)
    return compared, result.spec.revision


def _report(folder: Path, card: ConversionCard, revision: str, source_revision: str) -> Conversion:
    return Conversion(
        folder=str(folder),
        backbone=card.name,
        revision=revision,
        source_revision=source_revision,
        embed_dim=card.embed_dim,
        precision=card.precision,
        size_bytes=sum(path.stat().st_size for path in folder.iterdir()),
        checked_on=card.checked_on,
        images=card.images,
        largest_difference=card.largest_difference,
        mean_cosine=card.mean_cosine,
    )


def _check_output(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / CARD).is_file()):
        raise InputError(f"{str(folder)!r} exists and holds no converted backbone: name another folder")


def _pixels(folder: Path | None, how: Preprocessing) -> list[NDArray[np.uint8]]:
    """At most `IMAGES` images: the first usable ones in ``folder`` by name, or generated ones."""
    if folder is None:
        return generated_images(how, IMAGES)
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}: name a folder of images")
    found = list(islice(_usable(sorted(folder.iterdir()), how), IMAGES))
    if not found:
        raise InputError(f"the folder {str(folder)!r} holds no usable image: name a folder of images")
    return found


def _usable(paths: list[Path], how: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    for path in paths:
        if path.is_file():
            with suppress(ImageError):  # the folder may also hold other files
                yield load_pixels(str(path), how)


def _card(spec: BackboneSpec, precision: str, libraries: Mapping[str, str], folder: Path) -> ConversionCard:
    """The card before the comparison."""
    files = {name: file_hash(folder / name) for name in FILES[precision]}
    whole = precision == "fp32"
    return ConversionCard(
        precision="fp32" if whole else "int8",
        name=spec.name,
        embed_dim=spec.embed_dim,
        weights=spec.weights if whole else f"sha256:{files[FILES['int8'][0]]}",
        source=f"{spec.source}, converted" if spec.source else "converted",
        options=dict(spec.options) | ({} if whole else {"precision": "int8"}),
        synthetic=spec.synthetic,
        licence=spec.licence,
        preprocessing=spec.preprocessing.identity(),
        files=files,
        converted_by=libraries,
        checked_on="no",
        images=1,
        largest_difference=0.0,
        mean_cosine=1.0,
    )
