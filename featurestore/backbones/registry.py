"""Lists the known backbones, one record each, and loads the one that a reference such as `tflite:FILE` names."""

import difflib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from featurestore.backbones.base import Backbone, Preprocessing
from featurestore.errors import BackboneError, MissingExtra

ENTRY_POINTS = "featurestore.backbones"
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class LoadOptions:
    """The arguments of a loader besides its record.

    ``target`` is the path after the colon of ``tflite:FILE``; the other fields are as in `load`. A loader of weights
    must pass their hash to `check_weights` before it loads them.
    """

    name: str
    target: Path | None = None
    weights: Path | None = None
    tensor: str | int | None = None
    preprocessing: Preprocessing | None = None
    synthetic: bool = False
    threads: int | None = None
    expected_weights: str | None = None


@dataclass(frozen=True)
class BackboneRecord:
    """A backbone that can be loaded by name.

    Parameters
    ----------
    name
        The name that users type; ``tflite`` and ``savedmodel`` are followed by a colon and a path.
    loader
        ``module:function``, imported when the backbone is loaded; it is called with the record and `LoadOptions`.
    handle
        The Kaggle Models handle of the published weights; empty when there are none.
    embed_dim
        Length of an embedding; None when only the weights determine it.
    """

    name: str
    loader: str
    description: str
    handle: str = ""
    embed_dim: int | None = None
    preprocessing: Preprocessing | None = None
    licence: str = ""
    takes_path: bool = False


RECORDS: dict[str, BackboneRecord] = {
    "inception_v3": BackboneRecord(
        name="inception_v3",
        loader="featurestore.backbones.tfhub:load",
        description="Inception v3, ImageNet; hub weights, or a SavedModel with --weights DIR",
        handle="google/inception-v3/tensorFlow2/feature-vector/2",
        embed_dim=2048,
        preprocessing=Preprocessing(224, 224, "unit"),
        licence="Apache-2.0",
    ),
    "resnet_v2_50": BackboneRecord(
        name="resnet_v2_50",
        loader="featurestore.backbones.tfhub:load",
        description="ResNet v2 50, ImageNet; hub weights, or a SavedModel with --weights DIR",
        handle="google/resnet-v2/tensorFlow2/50-feature-vector/2",
        embed_dim=2048,
        preprocessing=Preprocessing(224, 224, "unit"),
        licence="Apache-2.0",
    ),
    "descriptors": BackboneRecord(
        name="descriptors",
        loader="featurestore.backbones.descriptors:load",
        description="hand-crafted colour, texture and structure of the whole image; no weights",
    ),
    "savedmodel": BackboneRecord(
        name="savedmodel",
        loader="featurestore.backbones.tfhub:load",
        description="savedmodel:DIR, any TensorFlow SavedModel, images in, vectors out",
        takes_path=True,
    ),
    "tflite": BackboneRecord(
        name="tflite",
        loader="featurestore.backbones.tflite:load",
        description="tflite:FILE, a TensorFlow Lite model, float or quantised; --tensor names the embedding",
        takes_path=True,
    ),
}


def known() -> list[BackboneRecord]:
    """All records: the built-in ones, then those of installed packages (entry point group `featurestore.backbones`).

    An entry point names a `BackboneRecord`; one that can't be imported is listed with the reason.
    """
    plugins = [_plugin(point) for point in entry_points(group=ENTRY_POINTS)]
    return [*sorted(RECORDS.values(), key=lambda record: record.name), *plugins]


def load(
    reference: str,
    *,
    trusted: bool = True,
    name: str | None = None,
    weights: str | Path | None = None,
    tensor: str | int | None = None,
    preprocessing: Preprocessing | None = None,
    synthetic: bool = False,
    threads: int | None = None,
    expected_weights: str | None = None,
) -> Backbone:
    """Load the backbone that ``reference`` names.

    Parameters
    ----------
    reference
        A known name, ``tflite:FILE`` or ``savedmodel:DIR``.
    trusted
        False for a reference that was read from a store or a model: then only a name is accepted, since a path would
        decide which code runs.
    name
        Name in the store, a lower-case identifier; by default that of the record or of the file.
    weights
        A local SavedModel folder instead of the published weights.
    tensor
        For tflite: number or name of the tensor that holds the embedding; the model's output by default.
    synthetic
        Whether the weights are random or made up.
    threads
        Number of threads of the model; the number of cores when None.
    expected_weights
        The expected ``weights`` of the spec, such as ``sha256:…``: others are refused before they are loaded.

    Raises
    ------
    BackboneError
        When the name is unknown, the weights can't be loaded, or they differ from ``expected_weights``.
    """
    scheme, colon, path = (reference if trusted else by_name(reference)).partition(":")
    record = _find(scheme, reference)
    if record.takes_path and not path:
        raise BackboneError(f"got the backbone {reference!r}, expected a path after the colon: {scheme}:PATH")
    if colon and not record.takes_path:
        raise BackboneError(f"got {reference!r}, but {scheme!r} takes no path: name a local model with --weights")
    target = Path(path) if path else None
    options = LoadOptions(
        name=store_name(name or (target.stem if target else record.name), given=name is not None),
        target=target,
        weights=None if weights is None else Path(weights),
        tensor=tensor,
        preprocessing=preprocessing,
        synthetic=synthetic,
        threads=threads,
        expected_weights=expected_weights,
    )
    _check_options(record, options)
    backbone = _loader(record)(record, options)
    check_weights(reference, backbone.spec.weights, expected=expected_weights)
    return backbone


def resolve(
    backbone: Backbone | str,
    *,
    name: str | None = None,
    weights: str | Path | None = None,
    tensor: str | int | None = None,
    synthetic: bool = False,
    expected_weights: str | None = None,
) -> Backbone:
    """Return ``backbone`` unchanged if it is loaded, else load the one that it names with the options of `load`.

    Raises
    ------
    BackboneError
        As `load`, or when an option is given for a backbone that is already loaded.
    """
    if isinstance(backbone, str):
        return load(
            backbone, name=name, weights=weights, tensor=tensor, synthetic=synthetic, expected_weights=expected_weights
        )
    if name is not None or weights is not None or tensor is not None or synthetic:
        raise BackboneError(
            "got a loaded backbone with name, weights, tensor or synthetic, which are only for a backbone given by "
            "name: leave them out"
        )
    return backbone


def _check_options(record: BackboneRecord, options: LoadOptions) -> None:
    if options.weights is not None and not record.handle:
        raise BackboneError(f"the backbone {record.name!r} takes no --weights: leave it out")
    if options.tensor is not None and record.name != "tflite":
        raise BackboneError(f"the backbone {record.name!r} takes no --tensor: leave it out")
    if options.threads is not None and options.threads < 1:
        raise BackboneError(f"got threads={options.threads}, expected 1 or more")


def by_name(name: str) -> str:
    """Return ``name`` if `load` needs nothing else.

    Raises
    ------
    BackboneError
        When no backbone has that name, or it needs a path.
    """
    if _find(name, name).takes_path:
        raise BackboneError(f"the backbone {name!r} needs a path: {name}:PATH")
    return name


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


def _find(name: str, reference: str) -> BackboneRecord:
    if name in RECORDS:
        return RECORDS[name]
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name in points:
        record = _plugin(points[name])
        if not record.loader:
            raise BackboneError(f"the backbone {name!r} of another package can't be loaded: {record.description}")
        return record
    names = sorted([*RECORDS, *points])
    close = difflib.get_close_matches(name, names, n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(names)}"
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


def _loader(record: BackboneRecord) -> Callable[[BackboneRecord, LoadOptions], Backbone]:
    module, _, function = record.loader.partition(":")
    try:
        loader: Callable[[BackboneRecord, LoadOptions], Backbone] = getattr(importlib.import_module(module), function)
    except MissingExtra:
        raise
    except (ImportError, AttributeError) as error:
        raise BackboneError(
            f"the loader {record.loader!r} of the backbone {record.name!r} can't be imported ({error}): "
            "install or fix the package that provides it"
        ) from error
    return loader
