"""Details of the comparison table, from stored predictions: classes, confusion, calibration, single images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores.calibration import Reliability, reliability_curve
from benchmarks.scores.metrics import confusion, per_class
from featurestore import FeatureStore

Row = tuple[str, str]


@dataclass(frozen=True)
class RowPredictions:
    """Every out-of-fold prediction of one row of a table: an image counts once in each repeat and seed."""

    ids: NDArray[np.int32]
    y: NDArray[np.int64]
    proba: NDArray[np.float32]

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts ``(n_classes, n_classes)``, row the true class."""
        return confusion(self.y, self.proba)

    @property
    def per_class(self) -> dict[str, NDArray[np.float64]]:
        """``precision``, ``recall``, ``f1`` of each class; ``support`` counts different images."""
        found = per_class(self.confusion)
        first = np.unique(self.ids, return_index=True)[1]
        return {**found, "support": np.bincount(self.y[first], minlength=self.proba.shape[1]).astype(float)}

    @property
    def reliability(self) -> Reliability:
        """The curve over all predictions; an image counts once, however often it was predicted."""
        repeats = round(len(self.ids) / len(np.unique(self.ids)))
        return reliability_curve(self.proba.max(axis=1), self.proba.argmax(axis=1) == self.y, repeats=repeats)


@dataclass(frozen=True)
class StoredPredictions(Mapping[Row, RowPredictions]):
    """The predictions of a run by row, those that learned from the whole training part.

    Each is read when it is asked for and not kept: those of many rows, repeats and classes would not fit into memory.
    """

    store: FeatureStore
    n_classes: int
    # In the order of repeat, fold and seed.
    cells: dict[Row, list[str]]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __contains__(self, row: object) -> bool:
        return row in self.cells

    def __getitem__(self, row: Row) -> RowPredictions:
        table = self.store.sql(
            "SELECT place, ImgId, y, proba FROM bench_predictions JOIN "
            "(SELECT unnest(keys) AS cell, generate_subscripts(keys, 1) AS place FROM (SELECT ? AS keys)) USING (cell)",
            [self.cells[row]],
        )
        ids = table["ImgId"].to_numpy()
        # Cells are stored whole: where they stand is nearly in order, and so quickly sorted.
        where = (table["place"].to_numpy() << 32) + ids
        proba = table["proba"].combine_chunks().flatten().to_numpy().reshape(len(table), self.n_classes)
        order = np.argsort(where, kind="stable")
        once = np.append(True, np.diff(where[order]) != 0)[: len(ids)]
        if not once.all():  # a cell that two processes stored counts once, with the lower probabilities
            order = np.lexsort((*proba.T[::-1], where))
        chosen = order[once]
        return RowPredictions(ids[chosen], table["y"].to_numpy()[chosen].astype(np.int64), proba[chosen])


def rows_of(store: FeatureStore, run: dict[str, Any]) -> StoredPredictions:
    """The predictions of a run of one label an image by row, in the order of their names."""
    cells = store.sql(
        "SELECT DISTINCT backbone, head, repeat, fold, seed, cell FROM bench_cells "
        "WHERE cell IN (SELECT unnest(?)) AND status = 'ok' AND size = 1.0 ORDER BY ALL",
        [run["cells"]],
    )
    found: dict[Row, list[str]] = {}
    for one in cells.to_pylist():
        found.setdefault((one["backbone"], one["head"]), []).append(one["cell"])
    return StoredPredictions(store, len(run["classes"]), found)


@dataclass(frozen=True)
class ImageProbabilities:
    """What the rows that learn predict of each image, out of fold, all rows with the same weight.

    Parameters
    ----------
    ids
        ``(n,)`` int32, ascending.
    y
        ``(n,)`` int64, the given class.
    proba
        ``(n, n_classes)`` float64: mean probability over the rows, of each row over its repeats and seeds.
    votes
        ``(n, n_classes)`` int64: how many predictions name a class as the most probable.
    """

    ids: NDArray[np.int32]
    y: NDArray[np.int64]
    proba: NDArray[np.float64]
    votes: NDArray[np.int64]


def image_probabilities(rows: Mapping[Row, RowPredictions]) -> ImageProbabilities | None:
    """Over all ``rows`` that learn, without the majority head; None where there is none. One row is held at a time."""
    from scipy.sparse import csr_array

    found: tuple[NDArray[Any], ...] = ()
    ids = np.empty(0, np.int32)
    for name in rows:
        if name[1] == "majority":
            continue
        row = rows[name]
        classes = row.proba.shape[1]
        found = found or (*(np.zeros(0, np.int64),) * 2, np.zeros((0, classes)), np.zeros((0, classes), np.int64))
        every = np.union1d(ids, row.ids)
        y, members, proba, votes = (_spread(array, np.searchsorted(every, ids), len(every)) for array in found)
        ids, n = every, len(every)
        place = np.searchsorted(ids, row.ids)
        count = np.bincount(place, minlength=n)
        y[place] = row.y
        members += count > 0
        ones = csr_array((np.ones(len(place), np.float32), (place, np.arange(len(place)))), shape=(n, len(place)))
        proba += (ones @ row.proba) / np.maximum(count, 1)[:, None]
        votes += np.bincount(place * classes + row.proba.argmax(axis=1), minlength=n * classes).reshape(n, classes)
        found = (y, members, proba, votes)
    if not found:
        return None
    y, members, proba, votes = found
    return ImageProbabilities(ids, y, proba / members[:, None], votes)


def _spread(array: NDArray[Any], place: NDArray[np.integer], n: int) -> NDArray[Any]:
    """``array`` at ``place`` in one of ``n`` rows, zero elsewhere."""
    wider = np.zeros((n, *array.shape[1:]), array.dtype)
    wider[place] = array
    return wider


@dataclass(frozen=True)
class ImageVerdict:
    """How the rows that learn predict an image.

    Parameters
    ----------
    right
        The share of all predictions that are correct.
    predicted
        The class that it was predicted as most often.
    sure
        The mean probability of that class over the rows.
    """

    img_id: int
    right: float
    truth: int
    predicted: int
    sure: float = 0.0


def verdicts(rows: Mapping[Row, RowPredictions]) -> list[ImageVerdict]:
    """`verdicts_on` what the rows that learn predict; the majority head is left out."""
    known = image_probabilities(rows)
    return [] if known is None else verdicts_on(known)


def verdicts_on(known: ImageProbabilities) -> list[ImageVerdict]:
    """One for each image, hardest first, of equally hard ones the most surely wrong; at the end the surest correct."""
    every = np.arange(len(known.ids))
    predicted = known.votes.argmax(axis=1)
    right = known.votes[every, known.y] / known.votes.sum(axis=1)
    sure = known.proba[every, predicted]
    order = np.lexsort([known.ids, np.where(predicted == known.y, sure, -sure).round(9), right])
    return [
        ImageVerdict(*one)
        for one in zip(
            *(column[order].tolist() for column in (known.ids, right, known.y, predicted, sure)), strict=True
        )
    ]
