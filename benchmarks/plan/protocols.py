"""Which rows are learned from and which are tested on: named protocols, splits with a hash."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan import across, given
from benchmarks.plan.dataset import EmbeddingDataset
from featurestore.errors import InputError

STUDY_TEST_SIZE, STUDY_SEED = 0.2, 42
# Shares of the training part that a learning curve is drawn over.
SIZES = (0.1, 0.2, 0.4, 0.7, 1.0)
DEFAULT_REPEATS = {"cv": 10, "nested": 10, "learning-curve": 2, "study": 1, "given": 1, "across": 1}
# Protocols with a single split that is not drawn here. It may part duplicates, which the report then says.
ONE_SPLIT = frozenset({"study", "given"})
# Protocols whose test parts are not drawn: however often a run was asked to repeat, they have one repeat.
ONE_REPEAT = ONE_SPLIT | {"across"}


@dataclass(frozen=True)
class Split:
    """One division of the rows.

    ``train`` and ``test`` are row numbers, int64, ascending in all protocols but ``study``, which keeps the study's
    own order; ``size`` is the share of the training part that ``train`` holds. ``kind``, in ``across``: what is learned
    from, see `across.DomainPart`; there ``size`` is 1 where all other domains are, else the share of all rows.
    """

    protocol: str
    repeat: int
    fold: int
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    size: float = 1.0
    kind: str = ""

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
        ``study``: the one split of the original study; ``given``: the one that a column of the view gives; ``cv``:
        stratified k-fold, repeated, duplicates of an image always on the same side; ``nested``: the splits of ``cv``,
        and settings of the heads chosen on folds of the training part; ``learning-curve``: the splits of ``cv``,
        learned from growing shares of the training part; ``across``: the values of a column are domains, learned from
        and tested on in turn, see `across.parts`.
    folds, repeats, seed
        Of all but ``study`` and ``given``; ``across`` has one repeat, and its folds lie inside the domains.
    column
        The column of the view that ``given`` reads.
    by
        The column of the view that ``across`` reads.
    """

    name: str
    folds: int = 5
    repeats: int = 1
    seed: int = 0
    column: str = given.COLUMN
    by: str = ""

    @property
    def one_split(self) -> bool:
        """Whether there is a single split, which is not drawn by ``seed``."""
        return self.name in ONE_SPLIT

    @property
    def tunes(self) -> bool:
        """Whether settings are chosen on inner folds."""
        return self.name == "nested"

    def splits(self, dataset: EmbeddingDataset) -> Iterator[Split]:
        """All splits of ``dataset``.

        Raises
        ------
        InputError
            When a class has too few rows, a duplicate would be on both sides, or the given split can't be used.
        """
        for split in PROTOCOLS[self.name](self, dataset):
            if not self.one_split and split.leaks(dataset.groups):
                raise InputError(f"the protocol {self.name!r} puts duplicates of an image on both sides of a split")
            yield split

    def describe(self, dataset: EmbeddingDataset) -> str:
        """The protocol in words, as it splits ``dataset``."""
        if self.name == "given":
            return _sides(self, dataset).describe(self.column)
        if self.name == "across":
            return _across_text(self, dataset)
        if self.name == "study":
            return "the study's split: 80 % train, 20 % test, seed 42, over the rows in ascending ImgId"
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        more = {
            "nested": "; settings chosen on 3 inner folds",
            "learning-curve": f"; learned from {', '.join(f'{size:.0%}' for size in SIZES)} of the training part",
        }.get(self.name, "")
        kept = f"{dataset.grouping.describe()} on one side"
        return f"stratified {self.folds}-fold cross-validation{times}, {kept}, seed {self.seed}{more}"


def _study(protocol: Protocol, dataset: EmbeddingDataset) -> Iterator[Split]:
    from sklearn.model_selection import train_test_split

    if len(dataset.y) < 10:
        raise InputError(f"the protocol study needs 10 rows or more, got {len(dataset.y)}")
    train, test = train_test_split(np.arange(len(dataset.y)), test_size=STUDY_TEST_SIZE, random_state=STUDY_SEED)
    yield Split("study", 0, 0, train, test)


def _given(protocol: Protocol, dataset: EmbeddingDataset) -> Iterator[Split]:
    sides = _sides(protocol, dataset)
    learned = dataset.y[sides.train]
    counts = learned.sum(axis=0) if learned.ndim == 2 else np.bincount(learned, minlength=len(dataset.classes))
    absent = [name for name, count in zip(dataset.classes, counts, strict=True) if not count]
    if absent:
        names = ", ".join(map(repr, absent[:5])) + (f" and {len(absent) - 5:,} more" if len(absent) > 5 else "")
        raise InputError(
            f"no training row of the column {protocol.column!r} has the {dataset.label} {names}: use a view without "
            "these rows, or --protocol cv"
        )
    yield Split("given", 0, 0, sides.train, sides.test)


def _sides(protocol: Protocol, dataset: EmbeddingDataset) -> given.Sides:
    if dataset.split is None:
        raise InputError(f"the protocol given needs the column {protocol.column!r}, which was not read from the view")
    return given.sides(dataset.split, column=protocol.column)


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


def usable_domains(protocol: Protocol, dataset: EmbeddingDataset) -> across.Usable:
    """The domains that ``across`` compares, and what it leaves out.

    Raises
    ------
    InputError
        When the column was not read, or has too few or too many domains.
    """
    if dataset.domains is None:
        raise InputError("the protocol across needs a column of the view whose values are compared: name it with --by")
    if protocol.folds < 2:
        raise InputError(f"got {protocol.folds} folds, expected 2 or more")
    return across.usable(dataset.domains, strata=dataset.strata, groups=dataset.groups, folds=protocol.folds)


def _across(protocol: Protocol, dataset: EmbeddingDataset) -> Iterator[Split]:
    domains = usable_domains(protocol, dataset).domains
    rows = int((domains.codes >= 0).sum())
    divided = across.parts(
        domains, strata=dataset.strata, groups=dataset.groups, folds=protocol.folds, seed=protocol.seed
    )
    for number, part in enumerate(divided):
        size = 1.0 if part.kind == across.OTHERS else len(part.train) / rows
        yield Split("across", 0, number, part.train, part.test, size, part.kind)


def _across_text(protocol: Protocol, dataset: EmbeddingDataset) -> str:
    domains = usable_domains(protocol, dataset).domains
    names = f"{len(domains.names)} values of {protocol.by} ({domains.names[0]} to {domains.names[-1]})"
    earlier = ", from all earlier ones" if domains.ordered else ""
    return (
        f"{names}, each tested by heads that learned from all others{earlier} and from each one alone "
        f"({protocol.folds} folds inside it), duplicates on one side, seed {protocol.seed}"
    )


def _spread(strata: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """An order of the rows whose every prefix has nearly the class rates of all rows."""
    rng = np.random.default_rng(seed)
    place = np.empty(len(strata))
    for code in np.unique(strata):
        rows = np.flatnonzero(strata == code)
        place[rng.permutation(rows)] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.argsort(place, kind="stable")


# Those with many splits first: their results are better supported.
PROTOCOLS = {
    "cv": _cv,
    "nested": _cv,
    "learning-curve": _learning_curve,
    "across": _across,
    "study": _study,
    "given": _given,
}
