"""TensorFlow Lite files as backbones, float or quantised, with one interpreter per thread."""

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.base import Backbone, BackboneSpec, Preprocessing
from featurestore.backbones.records import BackboneRecord, LoadOptions, check_weights
from featurestore.errors import BackboneError, shortened
from featurestore.files import file_hash


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """Load ``tflite:FILE``.

    Raises
    ------
    BackboneError
        When the file is missing or not a TFLite model, doesn't take images, or has no such tensor.
    """
    return load_file(options, licence=record.licence)


def load_file(options: LoadOptions, *, licence: str = "") -> "TFLiteBackbone":
    """Load the file ``options.target``, as `load` does."""
    path = options.target
    if path is None:
        raise BackboneError("a TensorFlow Lite backbone needs a file: tflite:FILE")
    if not path.is_file():
        raise BackboneError(f"there is no file {str(path)!r}: name a .tflite model")
    weights = f"sha256:{file_hash(path)}"
    check_weights(path, weights, expected=options.expected_weights)
    interpreters = [_interpreter(path, options.tensor) for _ in range(options.threads or os.cpu_count() or 1)]
    first = interpreters[0]
    model_input = first.get_input_details()[0]
    if len(first.get_input_details()) != 1:
        raise BackboneError(f"{path} takes {len(first.get_input_details())} inputs, expected one: use an image model")
    preprocessing = _preprocessing(path, model_input, options)
    output = _find_tensor(first, options.tensor, path)
    spec = BackboneSpec(
        name=options.name,
        embed_dim=int(np.prod(output["shape"])),
        preprocessing=preprocessing,
        weights=weights,
        source=path.name,
        options={"tensor": str(output["index"])},
        synthetic=options.synthetic,
        licence=licence,
        libraries={"ai-edge-litert": version("ai-edge-litert")},
        precision=np.dtype(output["dtype"]).name,
        pass_size=1,
    )
    return TFLiteBackbone(spec, interpreters, model_input, output)


class TFLiteBackbone:
    """Runs each of several interpreters on one image at a time, so that a vector never depends on its batch."""

    def __init__(
        self,
        spec: BackboneSpec,
        interpreters: Sequence[Any],
        model_input: Mapping[str, Any],
        output: Mapping[str, Any],
    ) -> None:
        self.spec = spec
        self._input = int(model_input["index"])
        self._signed = model_input["dtype"] == np.int8
        self._output = int(output["index"])
        self._scale, self._zero = output["quantization"]
        self._free: SimpleQueue[Any] = SimpleQueue()
        for interpreter in interpreters:
            self._free.put(interpreter)
        self._pool = ThreadPoolExecutor(len(interpreters))

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """``(n, height, width, 3)`` → ``(n, embed_dim)`` float32, dequantised with the model's scale and zero point."""
        if self._signed:
            # Converters subtract 128 to make bytes signed; flipping the top bit does the same.
            images = (images ^ np.uint8(128)).view(np.int8)
        return np.stack(list(self._pool.map(self._one, images)))

    def _one(self, image: NDArray[Any]) -> NDArray[np.float32]:
        interpreter = self._free.get()
        try:
            interpreter.set_tensor(self._input, image[None])
            interpreter.invoke()
            vector = interpreter.get_tensor(self._output).reshape(-1)
        finally:
            self._free.put(interpreter)
        if vector.dtype.kind == "f":
            return np.asarray(vector, np.float32)
        return np.asarray((vector.astype(np.float32) - self._zero) * np.float32(self._scale), np.float32)


def _preprocessing(path: Path, model_input: Mapping[str, Any], options: LoadOptions) -> Preprocessing:
    """The preprocessing that the model's input requires, with compatible changes."""
    shape = [int(size) for size in model_input["shape"]]
    if len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
        raise BackboneError(f"{path} takes {shape}, expected one input of (1, height, width, 3): use an image model")
    kind = np.dtype(model_input["dtype"])
    if kind not in (np.uint8, np.int8, np.float32):
        raise BackboneError(f"{path} takes {kind} images, expected uint8, int8 or float32: convert it again")
    quantised = kind != np.float32
    chosen = options.preprocess(Preprocessing(shape[1], shape[2], "byte" if quantised else "unit"))
    if (chosen.height, chosen.width) != (shape[1], shape[2]):
        raise BackboneError(f"{path} takes {shape[1]} × {shape[2]} pixels: set the preprocessing to that size")
    if (chosen.scale == "byte") != quantised:
        expected = "byte" if quantised else "unit or signed"
        raise BackboneError(f"{path} takes {kind} images: set the scale to {expected}, not {chosen.scale}")
    return chosen


def _interpreter(path: Path, tensor: str | int | None) -> Any:
    litert = import_extra("ai_edge_litert.interpreter", "embed", needed_by="a tflite backbone")
    try:
        with warnings.catch_warnings():
            # It warns that keeping interior tensors costs memory; one of them may be the embedding.
            warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*")
            interpreter = litert.Interpreter(
                str(path), num_threads=1, experimental_preserve_all_tensors=tensor is not None
            )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise BackboneError(
            f"{path} can't be loaded as TFLite ({shortened(str(error))}): name a .tflite model"
        ) from error
    return interpreter


def _find_tensor(interpreter: Any, tensor: str | int | None, path: Path) -> dict[str, Any]:
    """The tensor that is the embedding: one value per channel; other dimensions must be 1."""
    if tensor is None:
        chosen = interpreter.get_output_details()[0]
    else:
        found = [t for t in _vector_tensors(interpreter) if tensor in (t["index"], t["name"])]
        if not found:
            raise BackboneError(
                f"{path} has no vector tensor {tensor!r}: choose one such as {_names(_vector_tensors(interpreter))}"
            )
        chosen = found[0]
    if not _is_vector(chosen):
        raise BackboneError(
            f"{path}: the tensor {chosen['index']} has the shape {chosen['shape'].tolist()}, expected one vector: "
            f"choose with --tensor, for example {_names(_vector_tensors(interpreter))}"
        )
    if not np.issubdtype(chosen["dtype"], np.floating) and not chosen["quantization"][0]:
        raise BackboneError(
            f"{path}: the tensor {chosen['index']} holds {chosen['dtype'].__name__} without a per-tensor scale, "
            "expected floats or values quantised per tensor: choose another with --tensor"
        )
    return dict(chosen)


def _vector_tensors(interpreter: Any) -> list[dict[str, Any]]:
    return [t for t in interpreter.get_tensor_details() if t["name"] and _is_vector(t)]


def _is_vector(tensor: dict[str, Any]) -> bool:
    shape = tensor["shape"]
    return len(shape) in (2, 4) and shape[-1] > 1 and int(np.prod(shape)) == int(shape[-1])


def _names(tensors: list[dict[str, Any]]) -> str:
    return ", ".join(f"{t['index']} ({t['name'][-40:]}, {t['shape'][-1]}-d)" for t in tensors[-3:]) or "none"
