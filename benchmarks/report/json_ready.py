"""Makes values ready for JSON: no NaN, no types of NumPy, times as text; arrays as base64."""

import base64
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray


def json_ready(value: Any) -> Any:
    """``value`` with None for NaN and infinities, lists for sequences and arrays, ISO 8601 for times.

    >>> json_ready({"a": (np.float32(0.5), float("nan")), "b": np.arange(2)})
    {'a': [0.5, None], 'b': [0, 1]}
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime) else value


def packed(values: NDArray[Any], kind: str) -> str:
    """``values`` in that little-endian type as base64."""
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()
