"""The images behind each cell of a confusion matrix: a sentence and the surest ones, without their pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.breakdown import RowPredictions

# How many images of a cell are shown.
SHOWN = 8
# True class and predicted class.
Pair = tuple[int, int]


@dataclass(frozen=True)
class CellImages:
    """What a page tells of a cell: a sentence, how many images there are, and the surest, at most 8."""

    text: str
    count: int
    ids: tuple[int, ...]
    wrong: bool


def surest(row: RowPredictions) -> dict[Pair, tuple[int, tuple[int, ...]]]:
    """Of each pair of classes that occurs: the number of different images, and the surest of them by `ImgId`.

    An image counts once, by the mean probability of the class over those of its predictions that name it.
    """
    predicted, classes = row.proba.argmax(axis=1), row.proba.shape[1]
    keys = ((row.y * classes + predicted).astype(np.int64) << 32) | row.ids.astype(np.int64)
    found, place = np.unique(keys, return_inverse=True)
    sure = np.bincount(place, weights=row.proba.max(axis=1)) / np.bincount(place)
    pairs, ids = found >> 32, found & 0xFFFFFFFF
    order = np.lexsort((ids, -sure.round(9), pairs))
    starts = np.flatnonzero(np.diff(pairs[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    return {
        divmod(int(pairs[order[start]]), classes): (int(end - start), tuple(ids[order[start:end][:SHOWN]].tolist()))
        for start, end in zip(starts, ends, strict=True)
    }


def cell_images(
    counts: NDArray[np.int64], images: Mapping[Pair, tuple[int, tuple[int, ...]]], classes: Sequence[str], pair: Pair
) -> CellImages:
    """What is told of one cell.

    Parameters
    ----------
    counts
        ``(n_classes, n_classes)`` predictions, row the true class.
    images
        As `surest` gives them.
    """
    truth, predicted = pair
    number, whole = int(counts[pair]), int(counts[truth].sum())
    how = "correctly" if truth == predicted else f"as {classes[predicted]}"
    count, ids = images.get(pair, (0, ()))
    said = f"{classes[truth]} predicted {how}: {number:,} of {whole:,} predictions"
    if number:
        said += f" ({number / whole:.0%}), of {count:,} {'image' if count == 1 else 'images'}"
        said += "." if count <= SHOWN else f"; the {SHOWN} surest."
    return CellImages(said if number else f"{said}.", count, ids, truth != predicted)
