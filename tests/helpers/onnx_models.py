"""Tiny ONNX models with random weights, written on the spot."""

from pathlib import Path
from typing import Any

import numpy as np
from support import needs

Shape = list[int | str | None]


def onnx_model(
    path: Path,
    *,
    shape: Shape | None = None,
    kind: str = "FLOAT",
    maps: bool = False,
    two: bool = False,
    external: str | None = None,
    seed: int = 0,
) -> Path:
    """A model of one convolution and a mean over the image, with 6-d vectors in ``embedding``.

    Parameters
    ----------
    shape
        Of the input ``pixels``; ``["n", 3, 32, 32]`` by default; the channels are where the 3 is.
    kind
        The number type of the input: ``FLOAT``, ``FLOAT16`` or ``UINT8``.
    maps
        The output is ``(n, 6, 1, 1)`` instead of ``(n, 6)``.
    two
        A second output ``scores``, ``(n, 4)``.
    external
        The file that holds the weights.
    """
    needs("onnx", "openvino")
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    shape = ["n", 3, 32, 32] if shape is None else shape
    random = np.random.default_rng(seed)
    weights = {"kernel": random.normal(size=(6, 3, 4, 4)), "head": random.normal(size=(6, 4))}
    nodes: list[Any] = [helper.make_node("Cast", ["pixels"], ["cast"], to=TensorProto.FLOAT)]
    planes = "cast"
    if shape[-1] == 3:
        nodes.append(helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]))
        planes = "planes"
    nodes += [
        helper.make_node("Conv", [planes, "kernel"], ["conv"], strides=[4, 4]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["embedding" if maps else "pooled"]),
    ]
    if not maps:
        nodes.append(helper.make_node("Flatten", ["pooled"], ["embedding"]))
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 6, 1, 1] if maps else ["n", 6])]
    if two:
        nodes.append(helper.make_node("MatMul", ["embedding", "head"], ["scores"]))
        outputs.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 4]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", getattr(TensorProto, kind), shape)],
        outputs,
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if external is None:
        onnx.save_model(model, path)
    else:
        onnx.save_model(model, path, save_as_external_data=True, location=external, size_threshold=0)
    return path


def pointing_to(path: Path, location: str) -> Path:
    """A model whose kernel is said to be in the file ``location``."""
    import onnx

    model = onnx.load_model(onnx_model(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return path
