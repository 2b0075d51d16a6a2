"""TensorFlow SavedModels as backbones: published hub modules, and local folders (hub module or Keras export)."""

import hashlib
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones import kaggle
from featurestore.backbones.base import Backbone, BackboneSpec, Preprocessing
from featurestore.backbones.hints import folder_hint
from featurestore.backbones.records import BackboneRecord, LoadOptions, check_weights
from featurestore.backbones.signature import ImageInput, input_kind, input_shape, preprocessing_of
from featurestore.backbones.tf_operations import check_saved_model
from featurestore.errors import BackboneError, reason, shortened
from featurestore.files import file_hash
from featurestore.quiet import muted, verbose

WITHOUT = "an alternative: the backbones descriptors and tflite:FILE, or vectors by `featurestore import-embeddings`"


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """Load a published backbone, or ``savedmodel:DIR``.

    Raises
    ------
    BackboneError
        When the weights are not available, or the model doesn't map images to vectors of the record's length.
    """
    local = options.weights or options.target
    if local is None:
        start()  # fails early, before anything is downloaded
    folder = local if local is not None else kaggle.model(record.handle)
    if not (folder / "saved_model.pb").is_file():
        hint = folder_hint(folder)
        raise BackboneError(
            f"{str(folder)!r} is not a SavedModel (no saved_model.pb): name the unpacked folder, as savedmodel:DIR "
            "or with --weights DIR" + hint
        )
    weights = f"sha256:{folder_digest(folder)}"
    check_weights(folder, weights, expected=options.expected_weights)
    tensorflow = start(options.threads)
    check_saved_model(folder)
    model = _load_folder(tensorflow, folder)
    found = _image_input(model)
    preprocessing = preprocessing_of(found, options, folder, base=record.preprocessing)
    function = traced(_forward(model, folder), preprocessing)
    embed_dim = probe(function, preprocessing, folder)
    if record.embed_dim is not None and embed_dim != record.embed_dim:
        raise BackboneError(
            f"{str(folder)!r} gives {embed_dim}-d vectors, {record.name} has {record.embed_dim}: "
            f"these weights are of another model; use savedmodel:{folder}"
        )
    spec = BackboneSpec(
        name=options.name,
        embed_dim=embed_dim,
        preprocessing=preprocessing,
        weights=weights,
        source=f"local folder {folder.name}, not compared with the published weights" if local else record.handle,
        synthetic=options.synthetic,
        licence="" if local else record.licence,
        libraries={"tensorflow": tensorflow.__version__},
    )
    return SavedModelBackbone(spec, function, model)


class SavedModelBackbone:
    """A traced TensorFlow function that accepts batches of any size."""

    def __init__(self, spec: BackboneSpec, function: Callable[[Any], Any], model: Any) -> None:
        self.spec = spec
        self.function = function
        self.model = model  # keeps its variables alive

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """``(n, height, width, 3)`` → ``(n, embed_dim)`` float32."""
        return np.asarray(self.function(images).numpy(), np.float32)


def folder_digest(folder: Path) -> str:
    """SHA-256 of graph, variables and assets of a SavedModel; the folder's name and other files don't count."""
    total = hashlib.sha256()
    wanted = [folder / "saved_model.pb", *(folder / "variables").rglob("*"), *(folder / "assets").rglob("*")]
    for path in sorted(path for path in wanted if path.is_file()):
        total.update(f"{path.relative_to(folder).as_posix()} {file_hash(path)}\n".encode())
    return total.hexdigest()


def start(threads: int | None = None) -> Any:
    """Import TensorFlow, with the number of its threads.

    Raises
    ------
    BackboneError
        When it is running already with another number of threads.
    """
    # TensorFlow reads this when it is imported. 3 also silences error lines: one is printed on every machine
    # without a GPU, and real errors are raised as exceptions.
    if not verbose():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with muted():  # before it reads any setting, it reports a missing GPU as if that were an error
        tensorflow = import_extra("tensorflow", "tensorflow", needed_by="a SavedModel backbone", instead=WITHOUT)
    _share_gpus(tensorflow)
    if threads is not None:
        try:
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError as error:
            raise BackboneError(
                f"got threads={threads}, but TensorFlow is already running in this process: set it for the first model"
            ) from error
    return tensorflow


def _share_gpus(tensorflow: Any) -> None:
    """Let TensorFlow take the memory of a GPU as it needs it: by default it takes all of it at once."""
    for device in tensorflow.config.list_physical_devices("GPU"):
        with suppress(RuntimeError):  # it already runs in this process, with the settings of its first user
            tensorflow.config.experimental.set_memory_growth(device, True)


def _load_folder(tensorflow: Any, folder: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources, which is deprecated
        hub = import_extra("tensorflow_hub", "tensorflow", needed_by="a SavedModel backbone", instead=WITHOUT)
    try:
        return hub.load(str(folder))
    except (OSError, ValueError, AttributeError, KeyError, RuntimeError, tensorflow.errors.OpError) as error:
        raise BackboneError(
            f"{str(folder)!r} can't be loaded as a SavedModel ({shortened(reason(error))}): download it again"
        ) from error


def _signature(model: Any) -> Any:
    signatures = dict(getattr(model, "signatures", {}))
    return signatures.get("serving_default") or next(iter(signatures.values()), None)


def _image_input(model: Any) -> ImageInput:
    """The input of the model's signature; images of any size in float32 where it has none for images alone."""
    signature = _signature(model)
    inputs = [] if signature is None else list(signature.structured_input_signature[1].values())
    if len(inputs) != 1 or inputs[0].shape.rank != 4:
        return ImageInput((None, None, None, 3), "float32")
    shape = inputs[0].shape.as_list()
    return ImageInput((*shape[:3], 3 if shape[3] is None else shape[3]), inputs[0].dtype.name)


def _forward(model: Any, folder: Path) -> Callable[[Any], Any]:
    """The function of a SavedModel that takes images: a hub module is callable, a Keras export has ``serve``."""
    if callable(model):
        return lambda images: model(images)
    if hasattr(model, "serve"):
        return lambda images: model.serve(images)
    signature = _signature(model)
    if signature is None:
        raise BackboneError(f"{str(folder)!r} has no function to call: expected a hub module or a Keras export")
    inputs = list(signature.structured_input_signature[1])
    if len(inputs) != 1:
        raise BackboneError(f"{str(folder)!r} takes the inputs {inputs}, expected one: use an image model")
    return lambda images: signature(**{inputs[0]: images})


def _one_output(outputs: Any) -> Any:
    """The output that is the embedding: of several named outputs the first with one float vector per image."""
    if not isinstance(outputs, dict):
        return outputs
    candidates = [outputs[name] for name in sorted(outputs)]
    vectors = [t for t in candidates if t.dtype.is_floating and (t.shape.rank == 2 or _is_pooled(t))]
    return (vectors or candidates)[0]


def _is_pooled(maps: Any) -> bool:
    return maps.shape.rank == 4 and list(maps.shape[1:3]) == [1, 1]


def traced(
    forward: Callable[[Any], Any], preprocessing: Preprocessing, *, batch: int | None = None
) -> Callable[[Any], Any]:
    """``forward`` as one TensorFlow function from images to vectors, for batches of any size or of ``batch``.

    It is traced once, so that a smaller last batch is not traced again.
    """
    tensorflow = start()
    shape = [batch, *input_shape(preprocessing)[1:]]

    @tensorflow.function(input_signature=[tensorflow.TensorSpec(shape, input_kind(preprocessing))])
    def embed(images: Any) -> Any:
        vectors = _one_output(forward(images))
        return tensorflow.squeeze(vectors, [1, 2]) if _is_pooled(vectors) else vectors

    return embed


def probe(function: Callable[[Any], Any], preprocessing: Preprocessing, folder: Path) -> int:
    """Embed one grey image to learn the length of a vector."""
    grey = np.full((1, preprocessing.height, preprocessing.width, 3), 128, np.uint8)
    expected = f"expected ({preprocessing.height}, {preprocessing.width}, 3) images in and one float vector each out"
    try:
        vectors = function(preprocessing.apply(grey))
    except Exception as error:  # the graph is third-party: a mismatch may raise any error
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise BackboneError(f"{str(folder)!r} can't embed an image ({shortened(last)}): {expected}") from error
    if len(vectors.shape) != 2 or not vectors.dtype.is_floating:
        raise BackboneError(f"{str(folder)!r} returns {vectors.shape} {vectors.dtype.name}, {expected}")
    return int(vectors.shape[1])
