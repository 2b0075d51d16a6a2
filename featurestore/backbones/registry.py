"""Loads the backbone that a reference such as `tflite:FILE` names."""

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from featurestore.backbones.base import Backbone
from featurestore.backbones.checks import check, check_once
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.backbones.records import (
    PRECISIONS,
    BackboneRecord,
    LoadOptions,
    by_name,
    check_weights,
    find,
    in_file,
    store_name,
)
from featurestore.backbones.remembered import remember
from featurestore.backbones.unchanged import unchanged
from featurestore.errors import BackboneError, MissingExtra
from featurestore.files import why
from featurestore.quiet import muted


def load(
    reference: str = "",
    *,
    file: str | Path | None = None,
    trusted: bool = True,
    name: str | None = None,
    weights: str | Path | None = None,
    tensor: str | int | None = None,
    pooling: str | None = None,
    precision: str | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    synthetic: bool = False,
    threads: int | None = None,
    expected_weights: str | None = None,
) -> Backbone:
    """Load the backbone that ``reference`` names.

    Parameters
    ----------
    reference
        A known name, or one with a path, such as ``hf:DIR`` or ``onnx:FILE``.
    file
        A Python file that defines the backbone, and is executed; with several, ``reference`` names one.
    trusted
        False for a reference from a store or a model: only a name, since a path would decide which code runs.
    name, weights
        Name in the store, by default that of the record or of the file; a local SavedModel folder.
    tensor
        For tflite and onnx: number or name of the tensor that holds the embedding; the model's output by default.
    pooling
        For hf and torch: what of the model's output is the embedding; by default the family's.
    precision
        ``fp32`` (default), ``bf16``, ``fp16`` or ``int8``, where the engine has it.
    preprocessing
        Fields of `Preprocessing` to change, by name; or a whole record. By default what the model's files say.
    synthetic, threads
        Whether the weights are random or made up; the number of threads, by default that of cores.
    expected_weights
        The expected ``weights`` of the spec, such as ``sha256:…``: others are refused before they are loaded.

    Raises `BackboneError` when the name is unknown, the weights can't be loaded, or they differ from the expected ones.
    """
    reference = reference if file is None else in_file(file, reference)
    _check_paths(reference.partition(":")[2] or reference, str(weights or ""))
    record, target = _named(reference if trusted else by_name(reference))
    options = LoadOptions(
        name=store_name(name or (target.stem if target else record.name), given=name is not None),
        named=name is not None,
        target=target,
        weights=None if weights is None else Path(weights),
        tensor=tensor,
        pooling=pooling,
        precision=precision or "fp32",
        preprocessing=preprocessing,
        synthetic=synthetic,
        threads=threads,
        expected_weights=expected_weights,
    )
    return _loaded(record, options, reference)


def _loaded(record: BackboneRecord, options: LoadOptions, reference: str) -> Backbone:
    """The backbone of ``record``, checked."""
    _check_options(record, options)
    with muted(), unchanged(options.weights or options.target):
        backbone = _loader(record)(record, options)
        check_weights(reference, backbone.spec.weights, expected=options.expected_weights)
        return check(backbone)


def _check_paths(*texts: str) -> None:
    """Refuse what the file system refuses as a path; whether something is there, the loader says."""
    for text in texts:
        try:
            os.lstat(text)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            pass
        except (OSError, ValueError) as error:
            raise BackboneError(
                f"got {text[:80]!r}, which can't be a path ({why(error)}): name a file or a folder"
            ) from error


def _named(reference: str) -> tuple[BackboneRecord, Path | None]:
    """The record that ``reference`` names, and the path after its colon."""
    scheme, colon, path = reference.partition(":")
    record = find(scheme, reference)
    if record.takes_path and not path:
        raise BackboneError(f"got the backbone {reference!r}, expected a path after the colon: {scheme}:PATH")
    if colon and not record.takes_path:
        raise BackboneError(f"got {reference!r}, but {scheme!r} takes no path: name a local model with --weights")
    return record, Path(path) if path else None


def resolve(
    backbone: Backbone | str,
    *,
    name: str | None = None,
    weights: str | Path | None = None,
    tensor: str | int | None = None,
    pooling: str | None = None,
    precision: str | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    synthetic: bool = False,
    expected_weights: str | None = None,
) -> Backbone:
    """Return ``backbone`` unchanged if it is loaded, else load the one that it names with the options of `load`.

    Where its files are is then remembered, in the person's settings folder, for `lookup.find_backbone`.

    Raises
    ------
    BackboneError
        As `load`, or when an option is given for a backbone that is already loaded.
    """
    if isinstance(backbone, str):
        loaded = load(
            backbone,
            name=name,
            weights=weights,
            tensor=tensor,
            pooling=pooling,
            precision=precision,
            preprocessing=preprocessing,
            synthetic=synthetic,
            expected_weights=expected_weights,
        )
        remember(
            backbone,
            loaded.spec,
            name=name,
            weights=weights,
            tensor=tensor,
            pooling=pooling,
            precision=precision,
            changed=preprocessing is not None,
            synthetic=synthetic,
        )
        return loaded
    if synthetic or any(option is not None for option in (name, weights, tensor, pooling, precision, preprocessing)):
        raise BackboneError(
            "got a loaded backbone with options that are only for a backbone given by name (name, weights, tensor, "
            "pooling, precision, preprocessing, synthetic): leave them out"
        )
    return check_once(backbone)


def _check_options(record: BackboneRecord, options: LoadOptions) -> None:
    given = {
        "weights": options.weights is not None,
        "tensor": options.tensor is not None,
        "pooling": options.pooling is not None,
        "precision": options.precision != "fp32",
        "preprocessing": options.preprocessing is not None,
    }
    for option, is_given in given.items():
        if is_given and option not in record.takes:
            raise BackboneError(f"the backbone {record.name!r} takes no --{option}: leave it out")
    if options.precision not in PRECISIONS:
        raise BackboneError(f"got the precision {options.precision!r}, expected {', '.join(PRECISIONS)}")
    if options.threads is not None and options.threads < 1:
        raise BackboneError(f"got threads={options.threads}, expected 1 or more")


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
