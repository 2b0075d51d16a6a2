"""What counts as a label: a value of a view's label column, or of one of its lists, that says something of its row."""

from typing import Any


def has_label(value: Any) -> bool:
    """Whether a value from a table is a label: not NULL, NaN, blank text, nor a list that holds nothing else.

    >>> [has_label(value) for value in (0, False, "nan", None, float("nan"), " ", [], [None, ""])]
    [True, True, True, False, False, False, False, False]
    """
    if isinstance(value, list):
        return any(map(has_label, value))
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and bool(value == value)  # NaN alone is not itself
