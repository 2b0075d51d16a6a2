"""Which operators a program may call: those of ATen that compute on tensors, and a little arithmetic; no others."""

import math
import operator
from typing import Any

from featurestore.errors import BackboneError

# Operators that make a tensor of numbers; all others must take one. ATen also has some that open files.
MAKERS = frozenset(
    f"{name}.{overload}"
    for name, overloads in {
        "arange": ("default", "start", "start_step"),
        "empty": ("memory_format",),
        "eye": ("default", "m"),
        "full": ("default",),
        "linspace": ("default",),
        "ones": ("default",),
        "scalar_tensor": ("default",),
        "tril_indices": ("default",),
        "triu_indices": ("default",),
        "zeros": ("default",),
    }.items()
    for overload in overloads
)
# Arguments of text that choose a way to compute; another one may name a file.
WORDS = frozenset(
    {"approximate", "equation", "indexing", "interpolation", "mode", "norm", "ord", "pad_mode", "padding"}
    | {"padding_side", "reduce", "rounding_mode", "side"}
)
NUMBERS: dict[str, Any] = {
    f"_operator.{name}": getattr(operator, name)
    for name in (
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "neg",
        "getitem",
        "eq",
        "ne",
        "le",
        "lt",
        "ge",
        "gt",
    )
} | {f"math.{name}": getattr(math, name) for name in ("ceil", "floor", "trunc")}
# They say what torch.export assumed of sizes; here sizes are numbers, and a wrong one fails in the operator itself.
ASSERTIONS = ("torch.ops.aten._assert", "torch.ops.aten.sym_constrain_range")


def operator_named(target: str, torch: Any) -> Any:
    """The function ``target`` of a program; None for an assertion.

    Raises
    ------
    BackboneError
        When it isn't one of those that a program may call.
    """
    if target.startswith(ASSERTIONS):
        return None
    if target in NUMBERS:
        return NUMBERS[target]
    if target in ("torch.sym_max", "torch.sym_min"):
        return getattr(torch, target.partition(".")[2])
    *space, name, overload = target.split(".") if target.count(".") == 4 else ("", "", "")
    found = getattr(getattr(torch.ops.aten, name, None), overload, None) if space == ["torch", "ops", "aten"] else None
    if not isinstance(found, torch._ops.OpOverload) or not _computes(found, f"{name}.{overload}"):
        raise BackboneError(
            f"the program calls {target[:80]!r}, which is not an operator of ATen that computes on tensors: "
            "export a model without custom operators"
        )
    return found


def _computes(found: Any, name: str) -> bool:
    arguments = [(one.name, str(one.type)) for one in found._schema.arguments]
    words = {argument for argument, kind in arguments if "str" in kind}
    return words <= WORDS and (name in MAKERS or any("Tensor" in kind for _, kind in arguments))
