"""Runs models with OpenVINO on the CPU, each image by itself; which files are a backbone, its callers know."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.agreement import IMAGES, cosine_of
from featurestore.backbones.base import BackboneSpec
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.backbones.records import LoadOptions
from featurestore.backbones.signature import ImageInput, input_shape
from featurestore.errors import BackboneError, reason, shortened

# The types of OpenVINO by the precision that a user chooses, and their names in a spec.
PRECISIONS = {"fp32": ("f32", "float32"), "bf16": ("bf16", "bfloat16")}
_CORE_LOCK = Lock()


def runtime() -> ModuleType:
    """OpenVINO, without its telemetry: that would send data about each conversion.

    Raises
    ------
    MissingExtra
        When it is not installed.
    """
    with _without("openvino_telemetry"):
        return import_extra("openvino", "onnx", needed_by="a backbone in OpenVINO")


def _core() -> Any:
    """The one ``openvino.Core`` of this process, kept until it ends.

    A Core that computes gives its thread a stack for signals, and the one before it back when it is freed. Of two that
    are freed in the order of their making, the second would give back the freed stack of the first: the next signal
    that Python handles, such as Ctrl-C, would end the process with a segmentation fault.
    """
    with _CORE_LOCK:
        return _kept_core()


@cache
def _kept_core() -> Any:
    return runtime().Core()


def libraries() -> dict[str, str]:
    """What computes vectors here, for the lineage."""
    return {"openvino": version("openvino")}


def read(path: Path) -> Any:
    """The ``openvino.Model`` of an ONNX file or of an ``.xml`` with its ``.bin``.

    Raises
    ------
    BackboneError
        When OpenVINO can't read it.
    """
    try:
        return _core().read_model(path)
    except RuntimeError as error:
        raise BackboneError(f"{str(path)!r} can't be read by OpenVINO ({told(error)}): export it again") from error


def check_precision(precision: str, what: str) -> None:
    """Refuse a precision that this engine does not have; ``what`` names the backbone."""
    if precision not in PRECISIONS:
        raise BackboneError(
            f"{what} has the precisions {' and '.join(PRECISIONS)}, not {precision}: for int8, convert a SavedModel or "
            "Keras model with `featurestore backbone convert --precision int8`"
        )


def image_input(model: Any, place: Path) -> ImageInput:
    """The only input of ``model``; raises `BackboneError` when there are several."""
    if len(model.inputs) != 1:
        names = ", ".join(sorted(_name(one, number) for number, one in enumerate(model.inputs)))
        raise BackboneError(
            f"{str(place)!r} takes the inputs {names or 'none'}, expected one: export the image part alone"
        )
    (one,) = model.inputs
    rank = one.partial_shape.rank
    shape = [] if rank.is_dynamic else [None if side.is_dynamic else side.get_length() for side in one.partial_shape]
    return ImageInput(tuple(shape), np.dtype(one.element_type.to_dtype()).name)


def of_one_image(model: Any, how: Preprocessing, place: Path) -> None:
    """Set the input of ``model`` to one image that is prepared as ``how`` says.

    Raises
    ------
    BackboneError
        When the model is fixed to another number of images.
    """
    shape = input_shape(how)
    try:
        model.reshape(list(shape))
    except RuntimeError as error:
        raise BackboneError(
            f"{str(place)!r} can't take one image, {shape} ({told(error)}): export it with a free batch size"
        ) from error


def with_output(model: Any, tensor: str | int | None, place: Path) -> tuple[Any, str, int]:
    """``model`` for one image with nothing but the output ``tensor``, that output's name, and the length of a vector.

    Without ``tensor`` it is the only output that holds one vector.

    Raises
    ------
    BackboneError
        When there is no such output, or it does not hold one vector of floats.
    """
    outputs = {_name(output, number): output for number, output in enumerate(model.outputs)}
    vectors = [name for name, output in outputs.items() if _is_vector(output)]
    if tensor is None:
        chosen = vectors
    else:
        chosen = [
            name
            for number, (name, output) in enumerate(outputs.items())
            if tensor == number or tensor in (name, *output.names)
        ]
    if len(chosen) != 1 or chosen[0] not in vectors:
        known = ", ".join(f"{name} {output.partial_shape}" for name, output in list(outputs.items())[:8])
        got = "" if tensor is None else f", {str(tensor)[:80]!r} is not one of them"
        raise BackboneError(
            f"{str(place)!r} has the outputs {known}{got}: expected one with a vector for each image, named by --tensor"
        )
    runtime_model = runtime().Model([outputs[chosen[0]]], model.get_parameters())
    return runtime_model, chosen[0], int(np.prod(list(outputs[chosen[0]].shape)))


def compiled(model: Any, *, precision: str, threads: int | None, place: Path) -> Any:
    """Compile ``model``, which takes one image, to run on ``threads`` threads with one image each.

    The precision is set: OpenVINO would else choose bfloat16 where the processor has it.

    Raises
    ------
    BackboneError
        When the model can't be compiled, or the processor doesn't have the precision.
    """
    streams = threads or os.cpu_count() or 1
    kind = PRECISIONS[precision][0]
    lacking = BackboneError(f"this processor has no {precision} in OpenVINO: leave out --precision {precision}")
    if precision == "bf16" and "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise lacking
    settings = {
        "INFERENCE_PRECISION_HINT": kind,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        "PERFORMANCE_HINT": "THROUGHPUT",
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": streams,
        # Pinned threads of several processes would share some cores and leave others idle.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        network = _core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise BackboneError(f"{str(place)!r} can't be compiled by OpenVINO ({told(error)}): export it again") from error
    if network.get_property("INFERENCE_PRECISION_HINT").to_string() != kind:
        raise lacking
    return network


def backbone_of(model: Any, spec: BackboneSpec, options: LoadOptions, place: Path) -> "OpenVinoBackbone":
    """The backbone of a ``model`` with one output for one image.

    ``spec`` is that of float32; another precision becomes part of its options, and the mean cosine of its vectors to
    those in float32 part of its source and notes.
    """
    spec = replace(spec, libraries=libraries(), precision=PRECISIONS[options.precision][1], pass_size=1)
    backbone = OpenVinoBackbone(
        spec, compiled(model, precision=options.precision, threads=options.threads, place=place)
    )
    if options.precision == "fp32":
        return backbone
    exact = OpenVinoBackbone(spec, compiled(model, precision="fp32", threads=options.threads, place=place))
    note = f"{options.precision}: mean cosine {cosine_of(backbone, exact):.5f} to fp32 on {IMAGES} generated images"
    backbone.spec = replace(
        spec,
        options={**spec.options, "precision": options.precision},
        source=f"{spec.source}; {note}",
        notes=(*spec.notes, note),
    )
    return backbone


class OpenVinoBackbone:
    """Runs one image at a time in each stream of a compiled model, so that a vector never depends on its batch."""

    def __init__(self, spec: BackboneSpec, network: Any) -> None:
        self.spec = spec
        self._queue = runtime().AsyncInferQueue(network)
        self._queue.set_callback(_keep)
        self._lock = Lock()

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """``(n, height, width, 3)`` or ``(n, 3, height, width)`` → ``(n, embed_dim)`` float32."""
        vectors = np.empty((len(images), self.spec.embed_dim), np.float32)
        with self._lock:
            for row, vector in enumerate(vectors):
                self._queue.start_async({0: images[row : row + 1]}, vector)
            self._queue.wait_all()
        return vectors


def told(error: Exception) -> str:
    """The last line of an error of OpenVINO, which says what is wrong; those before say where in its code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[-1] if lines else reason(error))


def _name(port: Any, number: int) -> str:
    """The shortest name of an input or output, or its number."""
    return min(port.names, key=lambda name: (len(name), name), default=str(number))


def _keep(request: Any, vector: NDArray[np.float32]) -> None:
    vector[:] = request.get_output_tensor(0).data.reshape(-1)


def _is_vector(output: Any) -> bool:
    if output.partial_shape.is_dynamic or not output.element_type.is_real():
        return False
    shape = list(output.shape)
    return len(shape) >= 2 and shape[0] == 1 and 1 < int(np.prod(shape)) == max(shape)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Make imports of ``module`` fail within the block, unless it is imported already."""
    absent = module not in sys.modules
    if absent:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if absent:
            del sys.modules[module]
