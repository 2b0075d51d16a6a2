"""Which rows are learned from and which are tested on: named protocols, splits with a hash."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan.dataset import EmbeddingDataset
from featurestore.errors import InputError

STUDY_TEST_SIZE, STUDY_SEED = 0.2, 42
# Shares of the training part that a learning curve is drawn over.
SIZES = (0.1, 0.2, 0.4, 0.7, 1.0)
DEFAULT_REPEATS = {"study": 1, "cv": 10, "nested": 10, "learning-curve": 2}


@dataclass(frozen=True)
class Split:
    """One division of the rows.

    ``train`` and ``test`` are row numbers, int64, ascending in all protocols but ``study``, which keeps the study's
    own order; ``size`` is the share of the training part that ``train`` holds.
    """

    protocol: str
    repeat: int
    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    size: float = 1.0

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
        always on the same side; ``nested``: the splits of ``cv``, and settings of the heads chosen on folds of the
        training part; ``learning-curve``: the splits of ``cv``, learned from growing shares of the training part.
    folds, repeats, seed
        Of all but ``study``.
    """

    name: str
    folds: int = 5
    repeats: int = 1
    seed: int = 0

    @property
    def tunes(self) -> bool:
        """Whether settings are chosen on inner folds."""
        return self.name == "nested"

    def splits(self, dataset: EmbeddingDataset) -> Iterator[Split]:
        """All splits of ``dataset``.

        Raises
        ------
        InputError
            When a class has too few rows, or a duplicate would be on both sides.
        """
        for split in PROTOCOLS[self.name](self, dataset):
            # The study's own split has such leaks and is flagged in the report; any other split must have none.
            if self.name != "study" and split.leaks(dataset.groups):
                raise InputError(f"the protocol {self.name!r} puts duplicates of an image on both sides of a split")
            yield split

    def describe(self) -> str:
        """The protocol in words."""
        if self.name == "study":
            return "the study's split: 80 % train, 20 % test, seed 42, over the rows in ascending ImgId"
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        more = {
            "nested": "; settings chosen on 3 inner folds",
            "learning-curve": f"; learned from {', '.join(f'{size:.0%}' for size in SIZES)} of the training part",
        }.get(self.name, "")
        return f"stratified {self.folds}-fold cross-validation{times}, duplicates on one side, seed {self.seed}{more}"


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
    strata = dataset.strata
    for code in np.unique(strata):
        groups = len(np.unique(dataset.groups[strata == code]))
        if groups < protocol.folds:
            raise InputError(
                f"the class {dataset.classes[code]!r} has {groups} different images, fewer than the "
                f"{protocol.folds} folds: use fewer --folds, or a view without it"
            )
    for repeat in range(protocol.repeats):
        folds = StratifiedGroupKFold(protocol.folds, shuffle=True, random_state=protocol.seed + repeat)
        for fold, (train, test) in enumerate(folds.split(dataset.X, strata, dataset.groups)):
            yield Split(protocol.name, repeat, fold, train, test)


def _learning_curve(protocol: Protocol, dataset: EmbeddingDataset) -> Iterator[Split]:
    for split in _cv(protocol, dataset):
        order = _spread(dataset.strata[split.train], seed=protocol.seed + split.repeat)
        for size in SIZES:
            count = max(round(size * len(order)), 2 * len(np.unique(dataset.strata)))
            rows = np.sort(split.train[order[: min(count, len(order))]])
            yield replace(split, train=rows, size=size)


def _spread(strata: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """An order of the rows whose every prefix has nearly the class rates of all rows."""
    rng = np.random.default_rng(seed)
    place = np.empty(len(strata))
    for code in np.unique(strata):
        rows = np.flatnonzero(strata == code)
        place[rng.permutation(rows)] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.argsort(place, kind="stable")


PROTOCOLS = {"cv": _cv, "study": _study, "nested": _cv, "learning-curve": _learning_curve}
