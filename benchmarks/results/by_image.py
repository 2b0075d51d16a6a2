"""What each row of a table predicts of each image, over all repeats and seeds: each image counts once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.breakdown import Row, RowPredictions, StoredPredictions, rows_of
from benchmarks.scores.mcnemar import McNemar, mcnemar
from benchmarks.scores.significance import is_majority
from featurestore import FeatureStore


@dataclass(frozen=True)
class ImagePredictions:
    """The out-of-fold predictions of one row of a table.

    Parameters
    ----------
    ids, y
        ``(n,)`` int32, ascending, and int64: different images and their classes.
    predicted
        ``(n,)`` int64: the class that an image was predicted as most often; of equally frequent ones the surer.
    p
        ``(n,)`` float64: the mean probability of that class over all predictions of the image.
    times, of
        ``(n,)`` int64: how many predictions named that class, and how many there are.
    """

    ids: NDArray[np.int32]
    y: NDArray[np.int64]
    predicted: NDArray[np.int64]
    p: NDArray[np.float64]
    times: NDArray[np.int64]
    of: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """``(n,)``: whether the predicted class is the true one."""
        return self.predicted == self.y

    def confusion(self, classes: int) -> NDArray[np.int64]:
        """Numbers of images ``(classes, classes)``, row the true class."""
        return np.bincount(self.y * classes + self.predicted, minlength=classes**2).reshape(classes, classes)

    def only(self, ids: NDArray[np.int32]) -> "ImagePredictions":
        """Those of ``ids``, which must all be there."""
        place = np.searchsorted(self.ids, ids)
        return ImagePredictions(*(values[place] for values in vars(self).values()))


def by_image(row: RowPredictions) -> ImagePredictions:
    """``row`` with one entry for each image."""
    ids, first, image, of = np.unique(row.ids, return_index=True, return_inverse=True, return_counts=True)
    n, classes = len(ids), row.proba.shape[1]
    named = row.proba.argmax(axis=1)
    pairs, pair, times = np.unique(image * classes + named, return_inverse=True, return_counts=True)
    sure = np.bincount(pair, row.proba[np.arange(len(named)), named], minlength=len(pairs)) / times
    # Of each image its best pair comes first: the most frequent class, then the surest, then the first.
    order = np.lexsort((pairs, -sure.round(9), -times, pairs // classes))
    best = order[np.unique(pairs[order] // classes, return_index=True)[1]]
    predicted = pairs[best] % classes
    p = np.bincount(image, row.proba[np.arange(len(image)), predicted[image]], minlength=n) / of
    return ImagePredictions(ids, row.y[first], predicted, p, times[best], of)


@dataclass(frozen=True)
class _Noted(Mapping[Row, RowPredictions]):
    """``rows``, each of which is added to ``known`` when it is read."""

    rows: StoredPredictions
    known: dict[Row, ImagePredictions]

    def __getitem__(self, row: Row) -> RowPredictions:
        found = self.rows[row]
        if row not in self.known:
            self.known[row] = by_image(found)
        return found

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


class RunImages(Mapping[Row, ImagePredictions]):
    """The rows of a run of one label an image by image, each read once; they take 44 bytes an image."""

    def __init__(self, store: FeatureStore, run: dict[str, Any]) -> None:
        self._predictions = rows_of(store, run)
        self._known: dict[Row, ImagePredictions] = {}
        cells = store.sql(
            "SELECT DISTINCT cell, repeat, fold FROM bench_cells WHERE cell IN (SELECT unnest(?))", [run["cells"]]
        )
        self._splits = {row["cell"]: (row["repeat"], row["fold"]) for row in cells.to_pylist()}

    def __getitem__(self, row: Row) -> ImagePredictions:
        if row not in self._known:
            self._known[row] = by_image(self._predictions[row])
        return self._known[row]

    def __contains__(self, row: object) -> bool:
        return row in self._predictions

    def __iter__(self) -> Iterator[Row]:
        return iter(self._predictions)

    def __len__(self) -> int:
        return len(self._predictions)

    @property
    def predictions(self) -> Mapping[Row, RowPredictions]:
        """Every single prediction of each row; what is read of a row need not be read again for it by image."""
        return _Noted(self._predictions, self._known)

    @property
    def candidates(self) -> list[Row]:
        """The rows but those that name the most frequent class."""
        return [row for row in self if not is_majority(row)]

    def paired(self, a: Row, b: Row) -> tuple[ImagePredictions, ImagePredictions]:
        """Two rows on the images that both predict, over the splits (repeat and fold) that both have."""
        cells = self._predictions.cells
        splits = [{self._splits[cell] for cell in cells[row]} for row in (a, b)]
        both = splits[0] & splits[1]
        first, second = (
            self[row] if own == both else self._over(row, both) for row, own in zip((a, b), splits, strict=True)
        )
        ids = np.intersect1d(first.ids, second.ids)
        return first.only(ids), second.only(ids)

    def _over(self, row: Row, splits: set[tuple[int, int]]) -> ImagePredictions:
        """A row over some of its splits."""
        cells = [cell for cell in self._predictions.cells[row] if self._splits[cell] in splits]
        return by_image(replace(self._predictions, cells={row: cells})[row])

    def mcnemar(self, a: Row, b: Row) -> tuple[McNemar, int]:
        """McNemar's test of two rows, and on how many images."""
        first, second = self.paired(a, b)
        return mcnemar(first.right, second.right), len(first.ids)

    def wrong(self) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """The images ``(n,)`` int32, ascending, and the share of the `candidates` that are wrong about each."""
        rows = [self[row] for row in self.candidates]
        ids = np.unique(np.concatenate([np.empty(0, np.int32), *(row.ids for row in rows)]))
        wrong, known = np.zeros(len(ids)), np.zeros(len(ids))
        for row in rows:
            place = np.searchsorted(ids, row.ids)
            wrong[place] += ~row.right
            known[place] += 1
        return ids, wrong / np.maximum(known, 1)
