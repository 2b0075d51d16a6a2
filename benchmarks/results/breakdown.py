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
        keys = self.cells[row]
        table = self.store.sql(
            "SELECT CAST(list_position(?, cell) AS INTEGER) AS place, ImgId, y, proba FROM bench_predictions "
            "WHERE cell IN (SELECT unnest(?))",
            [keys, keys],
        )
        place, ids = table["place"].to_numpy(), table["ImgId"].to_numpy()
        proba = table["proba"].combine_chunks().flatten().to_numpy().reshape(len(table), self.n_classes)
        order = np.lexsort((ids, place))
        place, ids = place[order], ids[order]
        # A cell that two processes stored counts once.
        once = np.append(True, (np.diff(place) != 0) | (np.diff(ids) != 0))[: len(ids)]
        chosen = order[once]
        return RowPredictions(ids[once], table["y"].to_numpy()[chosen].astype(np.int64), proba[chosen])


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
class ImageVerdict:
    """How often an image was predicted correctly, over all rows that learn, and as what it was predicted most often."""

    img_id: int
    right: float
    truth: int
    predicted: int


def verdicts(rows: Mapping[Row, RowPredictions]) -> list[ImageVerdict]:
    """One for each image, hardest first; the majority head is left out."""
    # Without the probabilities: of these only one row's are in memory.
    learned = [(row.ids, row.y, row.proba.argmax(axis=1)) for row in _learned(rows)]
    if not learned:
        return []
    ids, truth, predicted = (np.concatenate(column) for column in zip(*learned, strict=True))
    unique, place = np.unique(ids, return_inverse=True)
    classes = 1 + max(int(truth.max()), int(predicted.max()))
    votes = np.bincount(place * classes + predicted, minlength=len(unique) * classes).reshape(len(unique), classes)
    true = np.zeros(len(unique), np.int64)
    true[place] = truth
    right = votes[np.arange(len(unique)), true] / votes.sum(axis=1)
    order = np.lexsort((unique, right))
    columns = (unique, right, true, votes.argmax(axis=1))
    return [ImageVerdict(*one) for one in zip(*(column[order].tolist() for column in columns), strict=True)]


def _learned(rows: Mapping[Row, RowPredictions]) -> Iterator[RowPredictions]:
    return (rows[name] for name in rows if name[1] != "majority")
