"""Writes the network of a TensorFlow backbone in the format of another engine; it neither checks nor describes it."""

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from featurestore.backbones import keras_file, openvino, registry, tfhub
from featurestore.backbones.base import Backbone
from featurestore.backbones.records import LoadOptions, store_name
from featurestore.backbones.tfhub import SavedModelBackbone
from featurestore.backbones.unchanged import unchanged
from featurestore.errors import BackboneError, shortened
from featurestore.quiet import muted

SOURCES = "savedmodel:DIR, inception_v3, resnet_v2_50 or FILE.keras"


def load_source(source: str, options: LoadOptions) -> SavedModelBackbone:
    """Load what is to be converted: a ``.keras`` file, or a reference of a backbone in TensorFlow.

    Raises
    ------
    BackboneError
        When it can't be loaded, or is of a kind that can't be converted.
    """
    path = Path(source)
    if path.suffix == keras_file.SUFFIX:
        if options.weights is not None:
            raise BackboneError(f"{source!r} holds its weights: leave out --weights")
        with unchanged(path):
            return keras_file.load(path, options)
    scheme = source.partition(":")[0]
    if scheme in ("onnx", "tflite", "converted"):
        raise BackboneError(f"{source!r} needs no TensorFlow, so there is nothing to convert: embed with it as it is")
    if scheme in ("hf", "torch", "descriptors"):
        raise BackboneError(f"{source!r} can't be converted, expected {SOURCES}: embed with it as it is")
    loaded: Backbone = registry.load(
        source,
        name=options.name if options.named else None,
        weights=options.weights,
        preprocessing=options.preprocessing,
        synthetic=options.synthetic,
        threads=options.threads,
    )
    if not isinstance(loaded, SavedModelBackbone):
        raise BackboneError(f"{source!r} can't be converted, expected {SOURCES}")
    return loaded


def default_name(source: str) -> str:
    """The name in the store of a source without a given one."""
    return store_name(Path(source.partition(":")[2] or source).stem, given=False)


def to_openvino(source: SavedModelBackbone, folder: Path) -> dict[str, str]:
    """Write ``model.xml`` and ``model.bin`` in float32 into ``folder``; returns the versions of what converted.

    Raises
    ------
    BackboneError
        When the network has operations that OpenVINO doesn't have.
    """
    runtime = openvino.runtime()
    try:
        with muted():
            model = runtime.convert_model(_concrete(source.function))
        runtime.save_model(model, folder / "model.xml", compress_to_fp16=False)
    except Exception as error:  # its converter raises many kinds of errors
        raise _refused(source, "OpenVINO", error) from error
    return openvino.libraries() | dict(source.spec.libraries)


def to_litert(source: SavedModelBackbone, folder: Path) -> dict[str, str]:
    """Write ``model.tflite`` into ``folder``, its weights in int8 (dynamic range quantisation).

    Raises
    ------
    BackboneError
        When the network has operations that LiteRT doesn't have.
    """
    tensorflow, how = tfhub.start(), source.spec.preprocessing
    function = _concrete(tfhub.traced(source.function, how, batch=1))
    holder = tensorflow.Module()  # the converter takes the variables that are in an object of TensorFlow
    holder.kept = list(function.variables)
    try:
        with muted(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of TensorFlow's own deprecations
            converter = tensorflow.lite.TFLiteConverter.from_concrete_functions([function], holder)
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
            content = converter.convert()
    except Exception as error:  # its converter raises many kinds of errors
        raise _refused(source, "LiteRT", error) from error
    (folder / "model.tflite").write_bytes(content)
    return {"ai-edge-litert": version("ai-edge-litert"), **source.spec.libraries}


def _concrete(function: Any) -> Any:
    return function.get_concrete_function()


def _refused(source: SavedModelBackbone, engine: str, error: Exception) -> BackboneError:
    return BackboneError(
        f"{source.spec.name} can't be converted to {engine} ({shortened(str(error))}): embed with it as it is"
    )
