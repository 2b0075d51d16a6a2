"""Loads a ``.keras`` file as a backbone in TensorFlow, to be converted; it writes nothing."""

from pathlib import Path
from typing import Any

from featurestore._optional import import_extra
from featurestore.backbones import tfhub
from featurestore.backbones.base import BackboneSpec
from featurestore.backbones.records import LoadOptions
from featurestore.backbones.signature import ImageInput, preprocessing_of
from featurestore.backbones.tf_operations import check_graph
from featurestore.backbones.tfhub import SavedModelBackbone
from featurestore.errors import BackboneError, reason, shortened
from featurestore.files import file_hash

SUFFIX = ".keras"


def load(path: Path, options: LoadOptions) -> SavedModelBackbone:
    """Load a ``.keras`` file, which may hold no code (Keras's safe mode).

    Raises
    ------
    BackboneError
        When it is missing, can't be loaded without running code of its own, or doesn't map images to vectors.
    """
    if not path.is_file():
        raise BackboneError(f"there is no file {str(path)!r}: name a .keras model")
    weights = f"sha256:{file_hash(path)}"
    tensorflow = tfhub.start(options.threads)
    model = _load_file(path)
    how = preprocessing_of(_image_input(model, path), options, path)
    function: Any = tfhub.traced(lambda images: model(images, training=False), how)
    check_graph(function.get_concrete_function().graph.as_graph_def(), path)
    spec = BackboneSpec(
        name=options.name,
        embed_dim=tfhub.probe(function, how, path),
        preprocessing=how,
        weights=weights,
        source=path.name,
        synthetic=options.synthetic,
        libraries={"tensorflow": tensorflow.__version__},
    )
    return SavedModelBackbone(spec, function, model)


def _load_file(path: Path) -> Any:
    keras = import_extra("keras", "tensorflow", needed_by="a Keras model")
    if keras.backend.backend() != "tensorflow":
        raise BackboneError(f"Keras runs on {keras.backend.backend()} here: set KERAS_BACKEND=tensorflow")
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a stranger's file may raise anything
        raise BackboneError(
            f"{str(path)!r} can't be loaded as a Keras model without code of its own ({shortened(reason(error))}): "
            "save it with layers of Keras alone, or write it by `model.export(DIR)` and name savedmodel:DIR"
        ) from error


def _image_input(model: Any, path: Path) -> ImageInput:
    inputs = model.inputs or []
    if len(inputs) != 1:
        raise BackboneError(f"{str(path)!r} takes {len(inputs)} inputs, expected one: use a built image model")
    (one,) = inputs
    return ImageInput(tuple(one.shape), str(one.dtype))
