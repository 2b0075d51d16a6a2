"""Heads that a worker process can't import, those of a notebook and those inside a function, are put into a file."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from joblib import wrap_non_picklable_objects

from benchmarks.heads.base import HeadSpec
from featurestore.errors import InputError, reason

FILE = '''"""A head by value."""

import pickle

{name} = pickle.loads({content!r})
'''


def is_importable(spec: HeadSpec) -> bool:
    """Whether the factory of ``spec`` has a name that another process can import."""
    module, _, function = spec.factory.rpartition(":")
    return module != "__main__" and "<locals>" not in function


def importable(spec: HeadSpec, function: Callable[..., Any], folder: Path) -> HeadSpec:
    """``spec`` with the factory ``function`` in a file of ``folder``, with all that it uses of its notebook.

    The file is the same in each session, so that a result is found again in a store as long as the function stays the
    same; a changed function is another head.

    Raises
    ------
    InputError
        When the function uses what can't be pickled.
    """
    try:
        content = pickle.dumps(wrap_non_picklable_objects(_without_place(function), keep_wrapper=False))
    except Exception as error:  # the objects of somebody's notebook
        raise InputError(
            f"the head {spec.name!r} uses what can't be sent to another process ({reason(error)[:200]}): put it into a "
            "Python file and import it"
        ) from error
    path = folder / f"head_{spec.name}.py"
    path.write_text(FILE.format(name=spec.name, content=content), "utf-8")
    return replace(spec, factory=f"{path}:{spec.name}")


def _without_place(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function without the file and line of its source: the file of a cell is named by its process."""
    if not isinstance(function, FunctionType):
        return function
    copied = FunctionType(
        _code_without_place(function.__code__),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    copied.__kwdefaults__ = function.__kwdefaults__
    copied.__module__, copied.__qualname__ = "__main__", function.__name__
    return copied


def _code_without_place(code: CodeType) -> CodeType:
    constants = tuple(_code_without_place(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_filename="", co_firstlineno=1, co_qualname=code.co_name, co_consts=constants)
