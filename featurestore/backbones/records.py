"""The records of known backbones, and what a loader gets; it loads none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, get_args

from featurestore.backbones.hints import instead
from featurestore.backbones.preprocessing import Preprocessing, changed
from featurestore.errors import BackboneError, alike

ENTRY_POINTS = "featurestore.backbones"
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
Precision = Literal["fp32", "bf16", "fp16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True)
class LoadOptions:
    """The arguments of a loader besides its record.

    ``target`` is the path after the colon of ``tflite:FILE``, ``named`` whether the user gave the name; the other
    fields are as in `registry.load`. A loader of weights must pass their hash to `check_weights` before it loads them.
    """

    name: str
    named: bool = False
    target: Path | None = None
    weights: Path | None = None
    tensor: str | int | None = None
    pooling: str | None = None
    precision: str = "fp32"
    preprocessing: Preprocessing | Mapping[str, Any] | None = None
    synthetic: bool = False
    threads: int | None = None
    expected_weights: str | None = None

    def preprocess(self, default: Preprocessing) -> Preprocessing:
        """``default`` with what the user changed; raises `BackboneError` for a change that is not possible."""
        return changed(default, self.preprocessing)


@dataclass(frozen=True)
class BackboneRecord:
    """A backbone that can be loaded by name.

    Parameters
    ----------
    name
        The name that users type; where ``takes_path`` is set it is followed by a colon and a path.
    loader
        ``module:function``, imported when the backbone is loaded; it is called with the record and `LoadOptions`.
    handle
        The Kaggle Models handle of the published weights; empty when there are none.
    embed_dim
        Length of an embedding; None when only the weights determine it.
    takes
        The options that the loader accepts, of ``weights``, ``tensor``, ``pooling``, ``precision`` and
        ``preprocessing``.
    """

    name: str
    loader: str
    description: str
    handle: str = ""
    embed_dim: int | None = None
    preprocessing: Preprocessing | None = None
    licence: str = ""
    takes_path: bool = False
    takes: frozenset[str] = frozenset({"preprocessing"})


_HUB = frozenset({"weights", "preprocessing"})
RECORDS: dict[str, BackboneRecord] = {
    record.name: record
    for record in (
        BackboneRecord(
            name="inception_v3",
            loader="featurestore.backbones.tfhub:load",
            description="Inception v3, ImageNet; hub weights, or a SavedModel with --weights DIR",
            handle="google/inception-v3/tensorFlow2/feature-vector/2",
            embed_dim=2048,
            preprocessing=Preprocessing(224, 224, "unit"),
            licence="Apache-2.0",
            takes=_HUB,
        ),
        BackboneRecord(
            name="resnet_v2_50",
            loader="featurestore.backbones.tfhub:load",
            description="ResNet v2 50, ImageNet; hub weights, or a SavedModel with --weights DIR",
            handle="google/resnet-v2/tensorFlow2/50-feature-vector/2",
            embed_dim=2048,
            preprocessing=Preprocessing(224, 224, "unit"),
            licence="Apache-2.0",
            takes=_HUB,
        ),
        BackboneRecord(
            name="descriptors",
            loader="featurestore.backbones.descriptors:load",
            description="hand-crafted colour, texture and structure of the whole image; no weights",
            takes=frozenset(),
        ),
        BackboneRecord(
            name="savedmodel",
            loader="featurestore.backbones.tfhub:load",
            description="savedmodel:DIR, any TensorFlow SavedModel, images in, vectors out",
            takes_path=True,
        ),
        BackboneRecord(
            name="tflite",
            loader="featurestore.backbones.tflite:load",
            description="tflite:FILE, a TensorFlow Lite model, float or quantised; --tensor names the embedding",
            takes_path=True,
            takes=frozenset({"tensor", "preprocessing"}),
        ),
        BackboneRecord(
            name="onnx",
            loader="featurestore.backbones.onnx:load",
            description="onnx:FILE, an ONNX model; --tensor names the output that is the embedding",
            takes_path=True,
            takes=frozenset({"tensor", "precision", "preprocessing"}),
        ),
        BackboneRecord(
            name="converted",
            loader="featurestore.backbones.converted:load",
            description="converted:DIR, what `featurestore backbone convert` made; needs no TensorFlow",
            takes_path=True,
            takes=frozenset({"precision", "preprocessing"}),
        ),
        BackboneRecord(
            name="hf",
            loader="featurestore.backbones.hf.model:load",
            description="hf:DIR_OR_NAME, a model of transformers (CLIP, DINOv2, SigLIP, ConvNeXt …) in safetensors",
            takes_path=True,
            takes=frozenset({"pooling", "precision", "preprocessing"}),
        ),
        BackboneRecord(
            name="python",
            loader="featurestore.backbones.own_file:load",
            description="python:FILE.py, a backbone that a Python file of yours defines; also --backbone-file",
            takes_path=True,
            takes=frozenset(),
        ),
        BackboneRecord(
            name="torch",
            loader="featurestore.backbones.exported:load",
            description="torch:FILE.pt2, a program of torch.export; --pooling for maps and tokens",
            takes_path=True,
            takes=frozenset({"pooling", "precision", "preprocessing"}),
        ),
    )
}


def known() -> list[BackboneRecord]:
    """All records: the built-in ones, then those of installed packages (entry point group `featurestore.backbones`).

    An entry point names a `BackboneRecord`; one that can't be imported is listed with the reason.
    """
    plugins = [_plugin(point) for point in entry_points(group=ENTRY_POINTS)]
    return [*sorted(RECORDS.values(), key=lambda record: record.name), *plugins]


def by_name(name: str) -> str:
    """Return ``name`` if `registry.load` needs nothing else.

    Raises
    ------
    BackboneError
        When no backbone has that name, or it needs a path.
    """
    if find(name, name, typed=False).takes_path:
        raise BackboneError(f"the backbone {name!r} needs a path: {name}:PATH")
    return name


def in_file(file: str | Path, name: str | None = None) -> str:
    """The reference to the backbone ``name`` that a Python file defines; without a name to its only one.

    Raises
    ------
    BackboneError
        When ``name`` is a reference, such as ``hf:DIR``.
    """
    if name and not NAME.fullmatch(name):
        raise BackboneError(
            f"got both a file that defines the backbone, {str(file)!r}, and the backbone {name!r}: leave one out"
        )
    return f"python:{file}:{name}" if name else f"python:{file}"


def check_weights(place: str | Path, weights: str, *, expected: str | None) -> None:
    """Refuse weights that differ from ``expected``; any are accepted when that is None.

    Raises
    ------
    BackboneError
        When they differ.
    """
    if expected not in (None, weights):
        raise BackboneError(
            f"{str(place)!r} has other weights than those that computed the vectors (got {weights[:80]}, expected "
            f"{expected[:80]}): use the same weights"
        )


def store_name(text: str, *, given: bool = True) -> str:
    """``text`` as a name in the store; a derived name is adjusted, one that the user gave is refused if invalid.

    >>> store_name("MobileNet-v1.0", given=False)
    'mobilenet_v1_0'

    Raises
    ------
    BackboneError
        When ``text`` is not a lower-case identifier and ``given`` is True.
    """
    if NAME.fullmatch(text):
        return text
    if given:
        raise BackboneError(
            f"got the name {text[:80]!r}, expected lower-case letters, digits and _, at most 63: try another --name"
        )
    bent = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:63]
    return bent if NAME.fullmatch(bent) else f"model_{bent}"[:63].rstrip("_")


def find(name: str, reference: str, *, typed: bool = True) -> BackboneRecord:
    """The record ``name`` of ``reference``, which the user typed, or which was read from a store or a model.

    Raises
    ------
    BackboneError
        When no backbone has that name.
    """
    if name in RECORDS:
        return RECORDS[name]
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in points:
        record = _plugin(points[name])
        if not record.loader:
            raise BackboneError(f"the backbone {name!r} of another package can't be loaded: {record.description}")
        return record
    names = sorted([*RECORDS, *points])
    hint = alike(name, names) or f"known are {', '.join(names)}"
    hint = (instead(reference) if typed else "") or hint
    raise BackboneError(f"there is no backbone {reference!r}: {hint}")


def _plugin(point: EntryPoint) -> BackboneRecord:
    """The record of an entry point; if that can't be loaded, a record without a loader that says why."""
    try:
        record = point.load()
    except Exception as error:  # a third-party package may raise anything and must not break the others
        reason = (str(error).splitlines() or [""])[0]
        return BackboneRecord(point.name, "", f"unusable: {type(error).__name__}: {reason}")
    if not isinstance(record, BackboneRecord):
        return BackboneRecord(point.name, "", f"unusable: its entry point is a {type(record).__name__}")
    return replace(record, name=point.name)
