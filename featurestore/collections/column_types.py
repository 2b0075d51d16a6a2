"""Gives columns their types: text that is safely a number or a boolean, and Arrow types that a store can keep."""

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

# Digits that would not come back as they were, such as `007` or a number of 19 digits, are an id and stay text.
WHOLE = r"^-?(0|[1-9][0-9]{0,17})$"
# An exponent needs its sign, as programs write it: `12e4` is more likely an id.
DECIMAL = r"^-?((0|[1-9][0-9]{0,17})(\.[0-9]*)?|\.[0-9]+)([eE][+-][0-9]{1,3})?$"
BOOLEANS = pa.array(["true", "false", "True", "False", "TRUE", "FALSE"])
NAN = pa.array(["nan", "NaN"])
# How deep lists and structs may be nested; deeper ones become JSON text.
MAX_DEPTH, MAX_FIELDS = 8, 1000


def typed(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of text as int64, float64 or bool if all its values are safely so; else unchanged.

    Dates stay text. In a column of numbers, `nan` and spaces at the ends are what programs write, and are dropped.
    """
    values = pc.utf8_trim_whitespace(text)
    values = pc.if_else(pc.equal(values, ""), None, values)
    numbers = pc.if_else(pc.is_in(values, value_set=NAN), None, values)
    if numbers.null_count < len(numbers):
        if _all(pc.match_substring_regex(numbers, WHOLE)):
            return numbers.cast(pa.int64())
        if _all(pc.match_substring_regex(numbers, DECIMAL)):
            return numbers.cast(pa.float64())
    if values.null_count < len(values) and _all(pc.is_in(values, value_set=BOOLEANS, skip_nulls=True), values):
        return pc.utf8_lower(values).cast(pa.bool_())
    return text


def _all(matches: pa.ChunkedArray, values: pa.ChunkedArray | None = None) -> bool:
    """Whether all ``matches`` are true; those of a null in ``values`` don't count."""
    if values is not None:
        matches = pc.or_(matches, pc.is_null(values))
    return bool(pc.all(matches).as_py())


def storable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column in a type that Parquet and DuckDB keep; what has none becomes text, nested values as JSON.

    Dictionaries are decoded. Bytes that are UTF-8 become text, as some programs write text as bytes.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    kind = _storable_type(column.type)
    if kind is None:
        return pa.chunked_array([as_text(column.to_pylist())])
    if kind != column.type:
        try:
            column = column.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return pa.chunked_array([as_text(column.to_pylist())])
    if pa.types.is_binary(kind) and column.null_count < len(column):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:  # an image, for example
            return column
    return column


def from_values(values: Sequence[Any]) -> pa.ChunkedArray:
    """Values from JSON as a column; values of types that don't go together, as 1 and "a", become text."""
    try:
        return storable(pa.chunked_array([pa.array(values)]))
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return pa.chunked_array([as_text(values)])


def as_text(values: Sequence[Any]) -> pa.Array:
    """Each value as text, those that are not text as JSON; null stays null."""

    def written(value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        return text.encode(errors="replace").decode()  # JSON can spell half a surrogate pair, which Arrow refuses

    return pa.array([None if value is None else written(value) for value in values], pa.string())


def _storable_type(kind: pa.DataType, depth: int = 0) -> pa.DataType | None:
    """The type to cast ``kind`` to, often itself; None if there is none."""
    types = pa.types
    if depth > MAX_DEPTH or isinstance(kind, pa.BaseExtensionType):
        return None
    if types.is_dictionary(kind):
        return _storable_type(kind.value_type, depth)
    if types.is_struct(kind):
        return _storable_struct(kind, depth)
    if types.is_list(kind) or types.is_large_list(kind):
        inner = _storable_type(kind.value_type, depth + 1)
        return None if inner is None else pa.list_(inner)
    if types.is_fixed_size_list(kind):
        inner = _storable_type(kind.value_type, depth + 1)
        return None if inner is None else pa.list_(inner, kind.list_size)
    if types.is_map(kind):
        key, item = _storable_type(kind.key_type, depth + 1), _storable_type(kind.item_type, depth + 1)
        return None if key is None or item is None else pa.map_(key, item)
    if types.is_null(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_fixed_size_binary(kind) or types.is_binary_view(kind):
        return pa.binary()
    if types.is_float16(kind):
        return pa.float32()
    if types.is_date64(kind):
        return pa.date32()
    plain = (types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_binary, types.is_date32)
    timed = (types.is_timestamp, types.is_time, types.is_decimal32, types.is_decimal64, types.is_decimal128)
    return kind if any(test(kind) for test in plain + timed) else None


def _storable_struct(kind: pa.StructType, depth: int) -> pa.DataType | None:
    """The struct with storable fields; None where DuckDB would refuse it: without fields, or with equal names."""
    fields = [kind.field(index) for index in range(min(kind.num_fields, MAX_FIELDS + 1))]
    names = {field.name.lower() for field in fields}
    if not 0 < len(fields) == len(names) <= MAX_FIELDS or "" in names:
        return None
    inner = [_storable_type(field.type, depth + 1) for field in fields]
    if any(one is None for one in inner):
        return None
    return pa.struct([pa.field(field.name, one) for field, one in zip(fields, inner, strict=True)])
