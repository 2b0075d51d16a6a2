"""Runs the graph of a program of torch.export, node by node, on tensors; it reads no files."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from featurestore.backbones.pt2.archive import TYPES, Archive
from featurestore.backbones.pt2.operators import operator_named
from featurestore.errors import BackboneError

# Values of the program by name.
Values = dict[str, Any]
Argument = Callable[[Values], Any]
HIGHER = "torch.ops.higher_order."
FORMATS = {1: "contiguous_format", 2: "channels_last", 3: "channels_last_3d", 4: "preserve_format"}
STRIDED = 7
POSITIONAL, KEYWORD = 1, 2


@dataclass(frozen=True)
class Node:
    """One call: ``function`` with arguments, the names of its results, and the values not needed after it."""

    function: Callable[..., Any]
    positional: Sequence[Argument]
    keywords: Mapping[str, Argument]
    results: Sequence[Any]
    done: Sequence[str]

    def run(self, values: Values) -> None:
        """Call it, and put its results among ``values``."""
        given = {name: argument(values) for name, argument in self.keywords.items()}
        _bind(self.results, self.function(*(argument(values) for argument in self.positional), **given), values)
        for name in self.done:
            values.pop(name, None)


@dataclass(frozen=True)
class Graph:
    """Nodes in the order in which they are called, between the names of inputs and what is returned."""

    inputs: Sequence[str]
    nodes: Sequence[Node]
    outputs: Sequence[Argument]

    def __call__(self, values: Values) -> list[Any]:
        """Run it on ``values``, which hold the inputs."""
        for node in self.nodes:
            node.run(values)
        return [output(values) for output in self.outputs]


@dataclass(frozen=True)
class Program:
    """A program with its weights.

    Parameters
    ----------
    images
        Name of the one input that isn't a weight.
    shape
        Its sizes; of one that may change, the size that it was exported with.
    free
        Which sizes may change.
    dtype
        Its number type.
    smallest, largest
        Number of images that it may be called with.
    outputs
        Names of what it returns: the keys of a dictionary, else numbers.
    """

    graph: Graph
    state: Mapping[str, Any]
    images: str
    shape: tuple[int, ...]
    free: tuple[bool, ...]
    dtype: str
    smallest: int
    largest: int | None
    outputs: tuple[str, ...]

    def __call__(self, images: Any) -> dict[str, Any]:
        """What it returns for ``images``, by name."""
        found = self.graph({**self.state, self.images: images})
        return dict(zip(self.outputs, found, strict=True))


def program(archive: Archive, torch: Any) -> Program:
    """The program in ``archive``, ready to be called.

    Raises
    ------
    BackboneError
        When it takes anything but one tensor besides its weights, was exported in training mode, or calls something
        that is not allowed.
    """
    module = archive.program["graph_module"]
    signature, values = module["signature"], module["graph"]["tensor_values"]
    if any("user_output" not in one for one in signature["output_specs"]):
        raise _training("it changes its own buffers")
    state, images = _state(signature["input_specs"], archive)
    names = _output_names(module, len(signature["output_specs"]))
    if len(images) != 1:
        raise BackboneError(f"the program takes {len(images)} inputs, expected one: export a model of images alone")
    meta = values[images[0]]
    ranges = archive.program["range_constraints"]
    smallest, largest = _batch(meta["sizes"][0], ranges) if meta["sizes"] else (1, 1)
    return Program(
        graph=_graph(module["graph"], torch, keep=frozenset(state)),
        state=state,
        images=images[0],
        shape=tuple(_size(size) for size in meta["sizes"]),
        free=tuple("as_int" not in size for size in meta["sizes"]),
        dtype=TYPES[meta["dtype"]],
        smallest=smallest,
        largest=largest,
        outputs=names,
    )


def _training(seen: str) -> BackboneError:
    return BackboneError(f"the program was exported in training mode ({seen}): call model.eval() before torch.export")


def _state(specs: Sequence[Mapping[str, Any]], archive: Archive) -> tuple[Values, list[str]]:
    """The weights by the names that the graph gives them, and the names of the other inputs."""
    state, images = {}, []
    for spec in specs:
        ((kind, one),) = spec.items()
        if kind == "user_input":
            images.append(one["arg"]["as_tensor"]["name"])
            continue
        key = {"parameter": "parameter_name", "buffer": "buffer_name", "tensor_constant": "tensor_constant_name"}[kind]
        held = archive.weights if one[key] in archive.weights else archive.constants
        state[one["arg"]["name"]] = held[one[key]]
    return state, images


def _output_names(module: Mapping[str, Any], count: int) -> tuple[str, ...]:
    """Keys of the dictionary that the model returned, else numbers."""
    numbers = tuple(map(str, range(count)))
    spec = json.loads(module["module_call_graph"][0]["signature"]["out_spec"])[1]
    keys = json.loads(spec["context"] or "null")
    flat = len(spec["children_spec"]) == count and not any(child["children_spec"] for child in spec["children_spec"])
    if spec["type"] is None or not isinstance(keys, list) or len(keys) != count or not flat:
        return numbers
    return tuple(map(str, keys))


def _size(size: Mapping[str, Any]) -> int:
    return int(size["as_int"] if "as_int" in size else size["as_expr"]["hint"]["as_int"])


def _batch(size: Mapping[str, Any], ranges: Mapping[str, Any]) -> tuple[int, int | None]:
    """The least and largest number of images; a free size is a symbol, whose range the program names."""
    if "as_int" in size:
        return int(size["as_int"]), int(size["as_int"])
    text = size["as_expr"]["expr_str"]
    symbols = [limits for name, limits in ranges.items() if text.startswith(f"Symbol('{name}'")]
    if len(symbols) != 1:
        raise BackboneError("the program's number of images depends on other sizes: export it with a free batch size")
    return max(1, int(symbols[0]["min_val"] or 1)), symbols[0]["max_val"]


def _graph(graph: Mapping[str, Any], torch: Any, *, keep: frozenset[str] = frozenset()) -> Graph:
    """The calls of ``graph``; a value is dropped after the last call that needs it, but for those in ``keep``."""
    outputs = [_argument(one, torch) for one in graph["outputs"]]
    needed = set(keep) | _names(graph["outputs"])
    nodes: list[Node] = []
    for node in reversed(graph["nodes"]):
        used = _names([one["arg"] for one in node["inputs"]]) - needed
        needed |= used
        made = _node(node, torch, sorted(used))
        if made is not None:
            nodes.append(made)
    return Graph([_names([one]).pop() for one in graph["inputs"]], nodes[::-1], outputs)


def _names(arguments: object) -> set[str]:
    """Every name of a value in ``arguments``; those within a graph of its own are not ours."""
    if isinstance(arguments, list):
        return set().union(*map(_names, arguments))
    if not isinstance(arguments, dict):
        return set()
    own = {arguments[key] for key in ("name", "as_name") if isinstance(arguments.get(key), str)}
    return own.union(*(_names(value) for key, value in arguments.items() if key not in ("as_graph", "as_string")))


def _node(node: Mapping[str, Any], torch: Any, done: Sequence[str]) -> Node | None:
    target = node["target"]
    for given in node["inputs"]:
        if given["name"] in ("train", "training") and given["arg"].get("as_bool"):
            raise _training(target.split(".")[-2])
    arguments = [(one["name"], _argument(one["arg"], torch), one.get("kind")) for one in node["inputs"]]
    if target.startswith(HIGHER):
        return Node(_higher(target, torch), [one for _, one, _ in arguments], {}, node["outputs"], done)
    function = operator_named(target, torch)
    if function is None:
        return None
    positional = [one for _, one, kind in arguments if kind != KEYWORD]
    keywords = {name: one for name, one, kind in arguments if kind == KEYWORD}
    return Node(function, positional, keywords, node["outputs"], done)


def _higher(target: str, torch: Any) -> Callable[..., Any]:
    """A call of a graph within the graph: under no_grad, or under autocast."""
    if target == f"{HIGHER}wrap_with_set_grad_enabled":
        return lambda enabled, graph, *given: _call(nullcontext(), graph, given)
    if target == f"{HIGHER}wrap_with_autocast":
        return lambda device, dtype, enabled, cache, graph, *given: _call(
            torch.autocast("cpu", dtype, enabled=enabled, cache_enabled=cache), graph, given
        )
    raise BackboneError(f"the program calls {target[:80]!r}, which is not supported: export a model without it")


def _call(around: AbstractContextManager[Any], graph: Graph, given: Sequence[Any]) -> Any:
    with around:
        found = graph(dict(zip(graph.inputs, given, strict=True)))
    return found[0] if len(found) == 1 else found


def _argument(argument: Mapping[str, Any], torch: Any) -> Argument:
    """What gives the value of ``argument`` when the program runs."""
    ((kind, value),) = argument.items()
    if kind == "as_tensor":
        return lambda values: values[value["name"]]
    if kind in ("as_tensors", "as_optional_tensors", "as_sym_ints", "as_sym_bools", "as_sym_floats"):
        inner = [_argument({"as_tensor": one} if kind == "as_tensors" else _single(kind, one), torch) for one in value]
        return lambda values: [one(values) for one in inner]
    if kind in ("as_optional_tensor", "as_sym_int", "as_sym_bool", "as_sym_float"):
        ((form, held),) = value.items()
        if form == "as_name":
            return lambda values: values[held]
        return _argument({form: held}, torch)
    if kind == "as_graph":
        inner_graph = _graph(value["graph"], torch)
        return lambda values: inner_graph
    constant = _constant(kind, value, torch)
    return lambda values: constant


def _single(kind: str, value: Mapping[str, Any]) -> dict[str, Any]:
    return {kind.removesuffix("s"): value}


def _constant(kind: str, value: Any, torch: Any) -> Any:
    if kind in ("as_int", "as_ints", "as_float", "as_floats", "as_string", "as_bool", "as_bools", "as_int_lists"):
        return float(value) if kind == "as_float" else value
    if kind == "as_none":
        return None
    if kind == "as_scalar_type":
        return getattr(torch, TYPES[value])
    if kind == "as_memory_format":
        return getattr(torch, FORMATS[value])
    if kind == "as_device":
        return torch.device("cpu")  # wherever it was exported
    if kind == "as_layout" and value == STRIDED:
        return torch.strided
    raise BackboneError(f"the program has an argument of the kind {kind!r}, which is not supported: export it again")


def _bind(results: Sequence[Mapping[str, Any]], found: Any, values: Values) -> None:
    """Put what a call returned among ``values``, by the names in ``results``."""
    if len(results) == 1 and "as_tensors" not in results[0] and "as_optional_tensors" not in results[0]:
        found = (found,)
    elif len(results) == 1:
        ((_, results),) = results[0].items()
        results = [{"as_tensor": one} for one in results]
    for result, one in zip(results, found, strict=True):
        name = next(iter(_names([dict(result)])), None)
        if name is not None:
            values[name] = one
