"""What a fitted head answers, checked: its classes are numbers of classes, its rows are probabilities."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# How far below zero a probability may be, and how far from one the sum of a row: floats are rounded.
BELOW_ZERO = 1e-6
FROM_ONE = 1e-3


def class_codes(model: Any, n_classes: int) -> NDArray[np.int64]:
    """``model.classes_``, the class of each column of its answers.

    Raises
    ------
    ValueError
        When they are anything but distinct whole numbers in ``[0, n_classes)``.
    """
    expected = f"expected distinct whole numbers from 0 to {n_classes - 1}"
    if getattr(model, "classes_", None) is None:
        raise ValueError(f"the head has no classes_, {expected}")
    codes = np.asarray(model.classes_)
    numbers = codes.ndim == 1 and len(codes) > 0 and codes.dtype.kind in "iu"
    if not numbers or codes.min() < 0 or codes.max() >= n_classes or len(np.unique(codes)) < len(codes):
        raise ValueError(f"classes_ is {' '.join(str(codes).split())[:80]} ({codes.dtype}), {expected}")
    return codes.astype(np.int64)


def are_probabilities(rows: NDArray[np.floating], *, several: bool = False) -> bool:
    """Whether each of ``rows`` ``(n, n_classes)`` adds up to one; with ``several`` each value is one of its own."""
    if not np.isfinite(rows).all() or (rows < -BELOW_ZERO).any():
        return False
    high = rows if several else rows.sum(axis=1, dtype=np.float64)
    return bool((high <= 1 + FROM_ONE).all() and (several or (high >= 1 - FROM_ONE).all()))


def on_all_classes(model: Any, answer: Any, *, n_rows: int, n_classes: int) -> NDArray[np.float64]:
    """``answer`` of ``model.predict_proba`` with a column for each class: one that ``model`` has not seen gets zero.

    Returns
    -------
    ``(n_rows, n_classes)`` float64.

    Raises
    ------
    ValueError
        When the answer is no set of probabilities, or the model's classes are no classes.
    """
    codes = class_codes(model, n_classes)
    if np.ma.is_masked(answer):
        raise ValueError("predict_proba gave masked values, expected a probability for each class")
    raw = np.asarray(answer)
    if raw.shape != (n_rows, len(codes)):
        raise ValueError(f"predict_proba gave {raw.shape}, expected ({n_rows}, {len(codes)})")
    if raw.dtype.kind not in "fiu":
        raise ValueError(f"predict_proba gave {raw.dtype}, expected floats")
    raw = raw.astype(np.float64)
    if not are_probabilities(raw):
        raise ValueError("predict_proba gave rows that are no probabilities")
    proba = np.zeros((n_rows, n_classes))
    proba[:, codes] = np.maximum(raw, 0)
    return proba
