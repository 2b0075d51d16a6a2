"""Which operations a graph of TensorFlow may call: those that compute on tensors and variables; it runs none.

TensorFlow itself runs any: some read and write files, open connections or print. They are refused by what TensorFlow
says of each operation, so that those of a later version are refused until they are judged here.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from featurestore.errors import BackboneError
from featurestore.files import read_file, why

LARGEST_GRAPH = 1 << 31
# Arguments of text that choose a way to compute; another one may name a file.
WORDS = frozenset(
    {"align", "bad_indices_policy", "config", "config_proto", "data_format", "dst_format", "equation", "executor_type"}
    | {"fill_mode", "frame_name", "interpolation", "kernel_type", "message", "method", "mode", "padding", "round_mode"}
    | {"row_partition_types", "src_format"}
)
# Operations with a state that is in memory alone: variables, calls, checks, random numbers and arrays.
STATEFUL = frozenset(
    {"AssignAddVariableOp", "AssignSubVariableOp", "AssignVariableOp", "DestroyResourceOp", "ReadVariableOp"}
    | {"ResourceGather", "ResourceGatherNd", "VarHandleOp", "VarIsInitializedOp", "VariableShape"}
    | {"Case", "If", "StatefulPartitionedCall", "While"}
    | {"Assert", "CheckNumerics", "CheckNumericsV2"}
    | {"Multinomial", "RandomCrop", "RandomShuffle", "RandomStandardNormal", "RandomUniform", "RandomUniformInt"}
    | {"RngReadAndSkip", "RngSkip", "SampleDistortedBoundingBox", "SampleDistortedBoundingBoxV2", "TruncatedNormal"}
    | {"StatefulStandardNormalV2", "StatefulTruncatedNormal", "StatefulUniform", "StatefulUniformFullInt"}
    | {"TensorArrayV3", "TensorArrayReadV3", "TensorArrayWriteV3", "TensorArrayGatherV3", "TensorArrayScatterV3"}
    | {"TensorArraySizeV3", "TensorArrayConcatV3", "TensorArraySplitV3", "TensorArrayCloseV3", "TensorArrayGradV3"}
)
# Parts of the names of operations that are no part of a model of images: other models, data sets, devices, debugging.
ELSEWHERE = ("BoostedTrees", "Dataset", "Debug", "Sleep", "TPU", "Xla")
# The number of the type of text, DT_STRING, in TensorFlow's types.proto.
TEXT = 7
# Operations that take text or bytes as values, and name nothing by them.
ON_TEXT = frozenset(
    {"AsString", "DecodeAndCropJpeg", "DecodeBase64", "DecodeBmp", "DecodeGif", "DecodeImage", "DecodeJpeg"}
    | {"DecodePng", "DecodeRaw", "DecodeWebP", "ParseExample", "ParseExampleV2", "StringFormat", "StringJoin"}
)


def check_saved_model(folder: Path) -> None:
    """Refuse the SavedModel in ``folder`` if a function of it calls anything but computations.

    Raises
    ------
    BackboneError
        When it does, is of TensorFlow 1, whose graph is run as a whole, or can't be read.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    damaged = f"{str(folder)!r} can't be loaded as a SavedModel"
    try:
        model.ParseFromString(read_file(folder / "saved_model.pb", limit=LARGEST_GRAPH))
    except OSError as error:
        raise BackboneError(f"{damaged} ({why(error)}): download it again") from error
    except Exception as error:  # an error of the library of protocol buffers, which is not imported here
        raise BackboneError(f"{damaged} (it is no protocol buffer): download it again") from error
    graphs = model.meta_graphs
    if not graphs:
        raise BackboneError(f"{damaged} (it holds no graph): download it again")
    if len(graphs) != 1 or not graphs[0].object_graph_def.nodes:
        raise BackboneError(f"{str(folder)!r} is a SavedModel of TensorFlow 1: save it again with TensorFlow 2")
    functions = {one.signature.name: one.node_def for one in graphs[0].graph_def.library.function}
    # Not all functions: those that save and restore name files, and are called by a graph that is never run.
    _check(_called(_named(graphs[0].object_graph_def), functions), folder)


def check_graph(graph: Any, place: Path) -> None:
    """Refuse a ``GraphDef`` that calls anything but computations; raises `BackboneError`."""
    functions = {one.signature.name: one.node_def for one in graph.library.function}
    _check({*_operations(graph.node), *_called(_functions_of(graph.node), functions)}, place)


def allowed(name: str) -> bool:
    """Whether a graph may call the operation ``name``."""
    from tensorflow.python.framework import op_def_registry

    if name in STATEFUL or name in ON_TEXT:
        return True
    found = op_def_registry.get(name)
    if found is None or found.is_stateful or name.startswith("_") or any(part in name for part in ELSEWHERE):
        return False
    if any(one.type == TEXT for one in found.input_arg):
        return False
    return {one.name for one in found.attr if one.type in ("string", "list(string)")} <= WORDS


def _check(operations: Iterable[str], place: Path) -> None:
    refused = sorted({name for name in operations if not allowed(name)})
    if refused:
        raise BackboneError(
            f"the graph in {str(place)!r} calls {', '.join(refused[:5])[:200]}, which may do more than compute, as "
            "reading files is: export the image part alone"
        )


def _named(objects: Any) -> Iterator[str]:
    """The functions that a model has as objects: all that loading and calling it can run."""
    yield from objects.concrete_functions
    for node in objects.nodes:
        yield from node.function.concrete_functions
        yield node.bare_concrete_function.concrete_function_name


def _called(roots: Iterable[str], functions: Mapping[str, Any]) -> set[str]:
    """The operations in functions that are named in ``roots``, and in those that they call."""
    operations: set[str] = set()
    left, seen = list(roots), set()
    while left:
        name = left.pop()
        if name in functions and name not in seen:
            seen.add(name)
            operations |= set(_operations(functions[name]))
            left += _functions_of(functions[name])
    return operations - functions.keys()  # an operation may also be the name of a function


def _operations(nodes: Any) -> Iterator[str]:
    return (node.op for node in nodes)


def _functions_of(nodes: Any) -> Iterator[str]:
    for node in nodes:
        yield node.op
        for value in node.attr.values():
            yield value.func.name
            yield from (one.name for one in value.list.func)
