"""Decides whether a value of a view's label column is a label or a missing value, and shows it as text."""

from typing import Any


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
