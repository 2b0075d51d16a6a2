"""Labels as numbers: which rows have one, and the code of each."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore import has_label

# Labels of a multi-label task with fewer rows are left out: their scores would be mostly chance.
MIN_LABEL_ROWS = 20


def coded(
    labels: list[Any], labelled: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], tuple[str, ...]]:
    """Which rows are kept, their codes, the classes in ascending order."""
    if any(isinstance(value, list) for value in labels):
        return _coded_lists(labels)
    classes, y = np.unique(
        np.array([str(value) for value, on in zip(labels, labelled, strict=True) if on]), return_inverse=True
    )
    return labelled, y.astype(np.int64), tuple(classes.tolist())


def _coded_lists(labels: list[Any]) -> tuple[NDArray[np.bool_], NDArray[np.int64], tuple[str, ...]]:
    rows = [{str(name) for name in row or () if has_label(name)} for row in labels]
    counts = Counter(name for row in rows for name in row)
    classes = tuple(sorted(name for name, count in counts.items() if count >= MIN_LABEL_ROWS))
    place = {name: code for code, name in enumerate(classes)}
    y = np.zeros((len(rows), len(classes)), np.int64)
    for number, names in enumerate(rows):
        y[number, [place[name] for name in names if name in place]] = 1
    kept = np.asarray(y.any(axis=1), bool)
    return kept, y[kept], classes
