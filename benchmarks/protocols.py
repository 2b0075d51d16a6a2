"""Which rows are learned from and which are tested on: named protocols, splits with a hash."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.dataset import EmbeddingDataset
from featurestore.errors import InputError

STUDY_TEST_SIZE, STUDY_SEED = 0.2, 42


@dataclass(frozen=True)
class Split:
    """One division of the rows.

    ``train`` and ``test`` are row numbers, int64, ascending in ``cv`` and in the study's own order in ``study``.
    """

    protocol: str
    repeat: int
    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    def hash(self, ids: NDArray[np.int32]) -> str:
        """16 hex digits of the ids on each side."""
        digest = hashlib.sha256(self.protocol.encode())
        for rows in (self.train, self.test):
            digest.update(np.ascontiguousarray(ids[rows]).tobytes() + b"|")
        return digest.hexdigest()[:16]

    def leaks(self, groups: NDArray[np.int64]) -> int:
        """How many test rows have a duplicate in the training part."""
        return int(np.isin(groups[self.test], groups[self.train]).sum())


@dataclass(frozen=True)
class Protocol:
    """A named way to split.

    Parameters
    ----------
    name
        ``study``: the one split of the original study; ``cv``: stratified k-fold, repeated, duplicates of an image
        always on the same side.
    folds, repeats, seed
        Of ``cv``.
    """

    name: str
    folds: int = 5
    repeats: int = 1
    seed: int = 0

    def splits(self, dataset: EmbeddingDataset) -> Iterator[Split]:
        """All splits of ``dataset``.

        Raises
        ------
        InputError
            When a class has too few rows.
        """
        return PROTOCOLS[self.name](self, dataset)

    def describe(self) -> str:
        """The protocol in words."""
        if self.name == "study":
            return "the study's split: 80 % train, 20 % test, seed 42, over the rows in ascending ImgId"
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        return f"stratified {self.folds}-fold cross-validation{times}, duplicates on one side, seed {self.seed}"


def _study(protocol: Protocol, dataset: EmbeddingDataset) -> Iterator[Split]:
    from sklearn.model_selection import train_test_split

    if len(dataset.y) < 10:
        raise InputError(f"the protocol study needs 10 rows or more, got {len(dataset.y)}")
    train, test = train_test_split(np.arange(len(dataset.y)), test_size=STUDY_TEST_SIZE, random_state=STUDY_SEED)
    yield Split("study", 0, 0, train, test)


def _cv(protocol: Protocol, dataset: EmbeddingDataset) -> Iterator[Split]:
    from sklearn.model_selection import StratifiedGroupKFold

    if protocol.folds < 2 or protocol.repeats < 1:
        raise InputError(f"got {protocol.folds} folds and {protocol.repeats} repeats, expected 2 and 1 or more")
    for code, name in enumerate(dataset.classes):
        groups = len(np.unique(dataset.groups[dataset.y == code]))
        if groups < protocol.folds:
            raise InputError(
                f"the class {name!r} has {groups} different images, fewer than the {protocol.folds} folds: "
                "use fewer --folds, or a view without it"
            )
    for repeat in range(protocol.repeats):
        folds = StratifiedGroupKFold(protocol.folds, shuffle=True, random_state=protocol.seed + repeat)
        for fold, (train, test) in enumerate(folds.split(dataset.X, dataset.y, dataset.groups)):
            yield Split("cv", repeat, fold, train, test)


PROTOCOLS = {"cv": _cv, "study": _study}
