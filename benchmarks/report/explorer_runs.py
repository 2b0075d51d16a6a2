"""What the explorer's pages of the bench keep of a run while its results don't change: the table, images, verdicts."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.results.breakdown import ImageProbabilities, ImageVerdict, Row, image_probabilities, verdicts_on
from benchmarks.results.by_image import RunImages
from benchmarks.results.compared import Compared, compared
from benchmarks.results.doubtful import DoubtfulLabel, doubtful_labels
from benchmarks.results.read import stored_runs
from benchmarks.results.selection import selected
from featurestore import FeatureStore
from featurestore.errors import InputError, nearest

Kept = TypeVar("Kept")
# How many runs are kept in memory.
RUNS_KEPT = 4


@dataclass
class KeptRun:
    """A run of `selection.selected`, and what was found out about it; each thing is computed once."""

    store: FeatureStore
    run: dict[str, Any]
    known: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Kept]) -> Kept:
        """What ``make`` returned the first time."""
        if name not in self.known:
            self.known[name] = make()
        return cast("Kept", self.known[name])

    @cached_property
    def compared(self) -> Compared:
        """The comparison of all rows."""
        return compared(self.store, self.run)

    @cached_property
    def images(self) -> RunImages:
        """The predictions of each row by image.

        Raises
        ------
        InputError
            When the run has several labels an image.
        """
        if self.run["task"] != "multiclass":
            raise InputError(
                f"the run {self.run['run_id']} has several labels an image: no image has one predicted class"
            )
        return RunImages(self.store, self.run)

    @cached_property
    def probabilities(self) -> ImageProbabilities | None:
        """The mean probabilities over the rows that learn; None where there is none. Raises as `images`."""
        return image_probabilities(self.images.predictions)

    @cached_property
    def verdicts(self) -> list[ImageVerdict]:
        """How the rows that learn predict each image."""
        return [] if self.probabilities is None else verdicts_on(self.probabilities)

    @cached_property
    def doubtful(self) -> list[DoubtfulLabel]:
        """The labels that confident learning doubts."""
        return [] if self.probabilities is None else doubtful_labels(self.probabilities)

    def row(self, query: Mapping[str, Any], name: str) -> Row:
        """The row that a parameter names as ``backbone/head``; raises `InputError` for another, and as `images`."""
        backbone, _, head = str(query.get(name, "")).rpartition("/")
        if (backbone, head) not in self.images:
            raise InputError(f"the run {self.run['run_id']} has no row {query.get(name, '')[:80]!r} with predictions")
        return backbone, head

    def class_code(self, query: Mapping[str, Any], name: str) -> int:
        """The code of the class that a parameter names; raises `InputError` for another."""
        if query.get(name) not in self.run["classes"]:
            asked = str(query.get(name, ""))
            hint = nearest(asked, self.run["classes"])
            raise InputError(f"the run {self.run['run_id']} has no class {asked[:80]!r} ({hint})")
        return int(self.run["classes"].index(query[name]))


class KeptRuns:
    """The runs of ``store`` that were asked for last, and its usable images.

    They are kept as long as the tables of the bench are the same: a correction of a label changes none of them.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self._state: Any = None
        self._runs: OrderedDict[str, KeptRun] = OrderedDict()
        self._ids = np.empty(0, np.int32)

    def asked(self, query: Mapping[str, Any]) -> KeptRun:
        """The run that a parameter names, the newest when there is none.

        Of the newest run of a protocol, view and label the joined table is shown, as `benchmarks table` does.

        Raises
        ------
        InputError
            When there is no such run.
        """
        self._renew()
        name = str(query.get("run", "")) or next((run["run_id"] for run in stored_runs(self.store)), "")
        if not name:
            raise InputError("the store has no results yet: run `benchmarks run --quick`")
        if name not in self._runs:
            joined = {run["run_id"]: run for run in selected(self.store)}
            run = joined[name] if name in joined else selected(self.store, run_id=name)[0]
            self._runs[name] = KeptRun(self.store, run)
        self._runs.move_to_end(name)
        while len(self._runs) > RUNS_KEPT:
            self._runs.popitem(last=False)
        return self._runs[name]

    @property
    def ids(self) -> NDArray[np.int32]:
        """``(n,)`` int32: the usable images, ascending."""
        self._renew()
        return self._ids

    def places(self, ids: NDArray[np.int32]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where those of ``ids`` that are usable stand in `ids`, and which of ``ids`` are."""
        there = np.isin(ids, self.ids)
        return np.searchsorted(self.ids, ids[there]), there

    def _renew(self) -> None:
        """Forget what is no longer so."""
        tables = self.store.state.tables
        state = self.store.state.store, [(name, tables[name]) for name in sorted(tables) if _counts(name)]
        if state != self._state:
            self._runs.clear()
            found = self.store.query("SELECT ImgId FROM images_usable ORDER BY ImgId")["ImgId"]
            self._ids = found.to_numpy().astype(np.int32)
            self._state = state


def _counts(table: str) -> bool:
    return table == "images" or table.startswith("bench_")
