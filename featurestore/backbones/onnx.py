"""Loads ONNX files as backbones; `openvino` computes."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from featurestore._optional import import_extra
from featurestore.backbones import openvino
from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.backbones.records import BackboneRecord, LoadOptions, check_weights
from featurestore.backbones.signature import preprocessing_of
from featurestore.backbones.unchanged import unchanged
from featurestore.errors import BackboneError
from featurestore.files import file_hash, read_file, why

PROCESSOR = "preprocessor_config.json"
ASSUMED = (
    "the file doesn't say how images are prepared: values in [0, 1] are assumed; set what it was trained with, as in "
    "--preprocessing mean=0.485,0.456,0.406 --preprocessing std=0.229,0.224,0.225"
)
# ONNX files with all their weights are at most 2 GB, the limit of protocol buffers.
LARGEST_FILE = 1 << 31


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """Load ``onnx:FILE``.

    Raises
    ------
    BackboneError
        When the file is missing or not an ONNX model, doesn't take images, or has no such output.
    """
    path = options.target
    if path is None or not path.is_file():
        raise BackboneError(f"there is no file {str(path)!r}: name a model, as in onnx:model.onnx")
    openvino.check_precision(options.precision, "onnx:FILE")
    files = files_of(path)
    with unchanged(*files.values()):
        weights = _weights(path, files)
        check_weights(path, weights, expected=options.expected_weights)
        model = openvino.read(path)
    base = _processor(path.with_name(PROCESSOR))
    how = preprocessing_of(openvino.image_input(model, path), options, path, base=base, layout="NCHW")
    name = _choose_output(model, options.tensor)
    openvino.of_one_image(model, how, path)
    model, name, embed_dim = openvino.with_output(model, name, path)
    spec = BackboneSpec(
        name=options.name,
        embed_dim=embed_dim,
        preprocessing=how,
        weights=weights,
        source=path.name,
        options={"tensor": name},
        synthetic=options.synthetic,
        licence=record.licence,
        notes=() if base or options.preprocessing or how.scale == "byte" else (ASSUMED,),
    )
    return openvino.backbone_of(model, spec, options, path)


def _weights(path: Path, files: Mapping[str, Path]) -> str:
    """``sha256:`` of the file, or, when it keeps tensors in other files, of its and their hashes."""
    hashes = {name: file_hash(file) for name, file in files.items()}
    if len(hashes) == 1:
        return f"sha256:{hashes[path.name]}"
    # The name of the model doesn't count; those of the others are in the model.
    lines = [f" {hashes.pop(path.name)}\n", *(f"{name} {digest}\n" for name, digest in hashes.items())]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def files_of(path: Path) -> dict[str, Path]:
    """The file of a model, and those beside it with its tensors, by name; raises as `load`."""
    return {path.name: path} | {name: _beside(path, name) for name in sorted(_external(path))}


def _external(path: Path) -> set[str]:
    """The names of the other files that hold tensors of the model.

    A file that is not ONNX is refused here: OpenVINO would try its readers of other formats.
    """
    onnx = import_extra("onnx", "onnx", needed_by="an ONNX backbone")
    message = import_extra("google.protobuf.message", "onnx", needed_by="an ONNX backbone")
    refused = BackboneError(f"{str(path)!r} is not an ONNX model: name a .onnx file")
    try:
        model = onnx.load_model_from_string(read_file(path, limit=LARGEST_FILE))
    except OSError as error:
        raise BackboneError(f"{str(path)!r} can't be read ({why(error)}): name a .onnx file") from error
    except message.DecodeError as error:
        raise refused from error
    if not model.ir_version or not model.graph.node:
        raise refused
    names = set()
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            names |= {entry.value for entry in tensor.external_data if entry.key == "location"}
    return names


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a protocol buffer: of the graph, of the graphs in its nodes, and of functions."""
    if message.DESCRIPTOR.name == "TensorProto":
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                yield from _tensors(item)


def _beside(path: Path, name: str) -> Path:
    """The file ``name`` in the folder of ``path``; a link may lead to where a cache keeps the model itself."""
    file = path.parent / name
    homes = {Path(os.path.realpath(path.parent)), Path(os.path.realpath(path)).parent}
    if Path(name).name != name or "\\" in name or Path(os.path.realpath(file)).parent not in homes:
        raise BackboneError(
            f"{str(path)!r} keeps weights in {name[:200]!r}, expected a file beside it: export the model again, with "
            "its data in the same folder"
        )
    if not file.is_file():
        raise BackboneError(f"{str(path)!r} needs the file {name[:200]!r} beside it: copy it there")
    return file


def _processor(path: Path) -> Preprocessing | None:
    """What ``preprocessor_config.json`` says; None without one."""
    if not path.is_file():
        return None
    from featurestore.backbones.hf.processor import from_json

    return from_json(path)


def _choose_output(model: Any, tensor: str | int | None) -> str | int | None:
    """``tensor`` once it is an output of ``model``; a tensor between two nodes becomes one."""
    names = {name for output in model.outputs for name in output.names}
    if isinstance(tensor, str) and tensor not in names:
        with suppress(RuntimeError):  # there is none of that name: the outputs are listed later
            model.add_outputs(tensor)
    return tensor
