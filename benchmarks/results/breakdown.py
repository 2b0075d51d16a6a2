"""Details of the comparison table, from stored predictions: classes, confusion, calibration, single images."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.read import predictions
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
        images = np.unique(np.stack([self.ids, self.y]), axis=1)[1]
        return {**found, "support": np.bincount(images, minlength=self.proba.shape[1]).astype(float)}

    @property
    def reliability(self) -> Reliability:
        """The curve over all predictions; an image counts once, however often it was predicted."""
        repeats = round(len(self.ids) / len(np.unique(self.ids)))
        return reliability_curve(self.proba.max(axis=1), self.proba.argmax(axis=1) == self.y, repeats=repeats)


def rows_of(store: FeatureStore, run: dict[str, Any]) -> dict[Row, RowPredictions]:
    """The predictions of a run by row, those that learned from the whole training part."""
    table = predictions(store, run)
    if not len(table):
        return {}
    whole = table["size"].to_numpy() == 1.0
    names = np.array(
        [f"{b}\0{h}" for b, h in zip(table["backbone"].to_pylist(), table["head"].to_pylist(), strict=True)]
    )
    ids, y = table["ImgId"].to_numpy(), table["y"].to_numpy().astype(np.int64)
    proba = table["proba"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
    found = {}
    for name in dict.fromkeys(names.tolist()):
        rows = (names == name) & whole
        backbone, head = name.split("\0")
        found[backbone, head] = RowPredictions(ids[rows], y[rows], proba[rows])
    return found


@dataclass(frozen=True)
class ImageVerdict:
    """How often an image was predicted correctly, over all rows that learn, and as what it was predicted most often."""

    img_id: int
    right: float
    truth: int
    predicted: int


def verdicts(rows: dict[Row, RowPredictions]) -> list[ImageVerdict]:
    """One for each image, hardest first; the majority head is left out."""
    learned = [row for (_, head), row in rows.items() if head != "majority"]
    if not learned:
        return []
    ids = np.concatenate([row.ids for row in learned])
    predicted = np.concatenate([row.proba.argmax(axis=1) for row in learned])
    truth = np.concatenate([row.y for row in learned])
    unique, place = np.unique(ids, return_inverse=True)
    votes = np.zeros((len(unique), learned[0].proba.shape[1]), np.int64)
    np.add.at(votes, (place, predicted), 1)
    true = np.zeros(len(unique), np.int64)
    true[place] = truth
    right = votes[np.arange(len(unique)), true] / votes.sum(axis=1)
    found = [
        ImageVerdict(int(unique[i]), float(right[i]), int(true[i]), int(votes[i].argmax())) for i in range(len(unique))
    ]
    return sorted(found, key=lambda one: (one.right, one.img_id))
