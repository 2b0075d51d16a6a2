"""Decides whether a value of a view's label column is a label or a missing value; shows and numbers labels."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def has_label(value: Any) -> bool:
    """Whether a value from a table is a label: not NULL, NaN or blank text, nor a list of only these.

    >>> [has_label(value) for value in (0, False, "nan", None, float("nan"), " ", [], [None, ""])]
    [True, True, True, False, False, False, False, False]
    """
    if isinstance(value, list):
        return any(map(has_label, value))
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and bool(value == value)  # only NaN differs from itself


def label_text(value: Any) -> str:
    """A label or a title in words: several joined by commas, empty where there is none.

    >>> [label_text(value) for value in ("cat", 3, ["a", None, "b"], None, float("nan"))]
    ['cat', '3', 'a, b', '', '']
    """
    if isinstance(value, list):
        return ", ".join(map(str, filter(has_label, value)))
    return str(value) if has_label(value) else ""


def class_names(values: Iterable[Any]) -> tuple[str, ...]:
    """The different labels among ``values`` as text, in ascending order."""
    return tuple(sorted({str(value) for value in values if has_label(value)}))


def class_codes(values: Sequence[Any], classes: Sequence[str]) -> NDArray[np.int64]:
    """The index in ``classes`` of each of ``values``, ``(n,)`` int64; -1 for one that is no label.

    >>> class_codes(["b", None, "a"], ["a", "b"]).tolist()
    [1, -1, 0]
    """
    code = {name: number for number, name in enumerate(classes)}
    return np.array([code[str(value)] if has_label(value) else -1 for value in values], np.int64)
