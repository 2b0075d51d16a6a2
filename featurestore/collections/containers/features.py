"""What Hugging Face's `datasets` says of the columns of a table: which hold images, and the names of class codes."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrow import from_numpy, to_numpy
from featurestore.collections.containers.names import clean_text

LISTS = ("Sequence", "List", "LargeList")
# The key of the Arrow schema's metadata under which `datasets` writes.
KEY = b"huggingface"


def features_of(schema: pa.Schema) -> Mapping[str, Any]:
    """The features by column in the metadata of ``schema``; empty where there are none, or not as `datasets` writes."""
    return parse_features((schema.metadata or {}).get(KEY, b""), "info")


def parse_features(text: bytes, *below: str) -> Mapping[str, Any]:
    """The object ``features`` in the JSON object ``text``, below the keys ``below``; empty where there is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    for key in (*below, "features"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def is_image(feature: Any) -> bool:
    """Whether the feature of a column is that of images."""
    return isinstance(feature, dict) and feature.get("_type") == "Image"


def with_class_names(column: pa.Array, feature: Any) -> pa.Array:
    """``column`` with names for the class codes that ``feature`` declares, in lists too; other columns as they are.

    A code without a name, as -1, becomes null.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    names = _class_names(feature)
    if names is not None and pa.types.is_integer(column.type):
        codes = column.cast(pa.int64(), safe=False)  # a uint64 above the range becomes negative: no class
        known = pc.and_(pc.greater_equal(codes, 0), pc.less(codes, len(names)))
        return pa.array(names, pa.string()).take(pc.if_else(known, codes, pa.scalar(None, pa.int64())))
    inner = _element(feature)
    if inner is None or not _is_list(column.type):
        return column
    values = with_class_names(column.flatten(), inner)
    # Anew, since the list may be a slice, and a null may cover values.
    lengths = to_numpy(pc.fill_null(pc.list_value_length(column), 0))
    offsets = from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    return pa.LargeListArray.from_arrays(offsets, values, mask=column.is_null()).cast(pa.list_(values.type))


def _class_names(feature: Any) -> list[str] | None:
    """The names of a ClassLabel; None for another feature, or where there are no names."""
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        return None
    return [clean_text(name) for name in names]


def _element(feature: Any) -> Any:
    """The feature of the elements of a list; None for another feature."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    if isinstance(feature, dict) and feature.get("_type") in LISTS:
        return feature.get("feature")
    return None


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
