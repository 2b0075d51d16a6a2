"""What a worker process sends to the run, as bytes: JSON and the bytes of arrays. Nothing is ever unpickled there.

A head is anybody's code and runs in the process that sends: whatever comes is data to be checked.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, get_origin, get_type_hints

import numpy as np

# The kinds of messages: that a task begins, how far it is, its result, why it has none.
STARTED, PROGRESS, DONE, FAILED = "started", "progress", "done", "failed"
KINDS = (STARTED, PROGRESS, DONE, FAILED)
# Types of the arrays that are sent.
_ARRAYS = ("float32", "float64", "int64")
_BYTES = "bytes"
# Between the JSON, which never holds it, and the bytes of arrays.
_END = b"\0"

Record = TypeVar("Record")


def encoded(kind: str, content: Any) -> bytes:
    """A message as bytes.

    Parameters
    ----------
    content
        Plain data (None, truth values, numbers, text, lists, dicts with text as keys), or a record whose fields are
        such, or arrays, or bytes.

    Raises
    ------
    TypeError, ValueError
        When ``content`` is something else.
    """
    parts: list[bytes] = []
    binary: dict[str, tuple[str, tuple[int, ...]]] = {}
    if is_dataclass(content):
        values = {field.name: getattr(content, field.name) for field in fields(content)}
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                binary[name] = (value.dtype.name, value.shape)
                parts.append(np.ascontiguousarray(value).tobytes())
            elif isinstance(value, bytes):
                binary[name] = (_BYTES, (len(value),))
                parts.append(value)
        content = {name: value for name, value in values.items() if name not in binary}
    text = json.dumps({"kind": kind, "content": content, "binary": binary})
    return _END.join([text.encode("ascii"), b"".join(parts)])


def decoded(message: bytes) -> tuple[str, Any]:
    """The kind and the content; a record is the dict of its fields.

    Raises
    ------
    ValueError
        When ``message`` is none that `encoded` makes.
    """
    text, end, rest = message.partition(_END)
    try:
        found = json.loads(text)
        kind, content = found["kind"], found["content"]
        content = {**content, **_arrays(found["binary"], rest)} if found["binary"] else content
    except (LookupError, TypeError, AttributeError, RecursionError, OverflowError, ValueError) as error:
        raise ValueError(f"no message ({type(error).__name__})") from error
    if kind not in KINDS or not end:
        raise ValueError("no message of a worker")
    return kind, content


def _arrays(binary: Mapping[str, Any], rest: bytes) -> dict[str, Any]:
    """The arrays and bytes that ``binary`` describes; together they must be all of ``rest``."""
    found: dict[str, Any] = {}
    place = 0
    for name, (dtype, shape) in binary.items():
        if dtype not in (*_ARRAYS, _BYTES) or not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError("no array")
        count = math.prod(shape)
        size = count if dtype == _BYTES else count * np.dtype(dtype).itemsize
        part = rest[place : place + size]
        if len(part) != size:
            raise ValueError("an array without all its bytes")
        found[name] = part if dtype == _BYTES else np.frombuffer(part, dtype).reshape(shape)
        place += size
    if place != len(rest):
        raise ValueError("bytes of no array")
    return found


def record_of(kind: type[Record], content: Any) -> Record:
    """The record of type ``kind`` whose fields were sent.

    Raises
    ------
    ValueError
        When ``content`` has other fields, or a field is of another type.
    """
    types = get_type_hints(kind)
    if not isinstance(content, dict) or content.keys() != types.keys():
        raise ValueError(f"not the fields of {kind.__name__}")
    values = {name: float(value) if _whole(types[name], value) else value for name, value in content.items()}
    wrong = [name for name, value in values.items() if not _fits(types[name], value)]
    if wrong:
        raise ValueError(f"no valid {', '.join(wrong)}")
    return kind(**values)


def _whole(expected: Any, value: Any) -> bool:
    return expected is float and type(value) is int and abs(value) < 2**53


def _fits(expected: Any, value: Any) -> bool:
    return type(value) is (np.ndarray if get_origin(expected) is np.ndarray else expected)
