"""What each row of a table has on every image, from stored predictions: what its rows are compared by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.plan.protocols import ONE_REPEAT
from benchmarks.results.read import run_query
from benchmarks.scores.inference import Results, Row
from benchmarks.scores.metrics import TASKS
from featurestore import FeatureStore

Values = Mapping[Row, NDArray[np.float64]]
# The row of always naming the most frequent class, where a table has none.
FLOOR: Row = ("", "majority")


@dataclass(frozen=True)
class ImageResults:
    """The rows of a table on the images that were tested.

    Parameters
    ----------
    ids, y
        ``(n,)`` int32 and int64: the images, ascending, and their classes; with several labels ``y`` is the first.
    folds
        ``(repeats, n)`` int64; whole repeats only, those of which every planned cell was tried.
    correct, loss, brier
        For each row ``(repeats, n)`` float64, means over seeds; NaN in repeats of which it lacks a fold.
    groups
        ``(n,)`` int64: copies of an image have one number.
    """

    ids: NDArray[np.int32]
    y: NDArray[np.int64]
    folds: NDArray[np.int64]
    groups: NDArray[np.int64]
    test_share: float
    correct: Values
    loss: Values
    brier: Values

    def results(self, metric: str, *, floor: int | None = None) -> Results | None:
        """By a metric that is a mean over images; None for any other.

        Parameters
        ----------
        floor
            The most frequent class: adds the row `FLOOR` where the metric is about right and wrong.
        """
        known = {
            "accuracy": (self.correct, True, True),
            "recall_weighted": (self.correct, True, True),
            "top_label": (self.correct, True, True),
            "balanced_accuracy": (self._by_class(), True, False),
            "recall_macro": (self._by_class(), True, False),
            "log_loss": (self.loss, False, False),
            "brier": (self.brier, False, False),
        }
        if metric not in known or not self.correct:
            return None
        values, higher, binary = known[metric]
        if floor is not None and values is self.correct:
            values = {**values, FLOOR: np.tile((self.y == floor).astype(float), (len(self.folds), 1))}
        return Results(values, self.folds, self.groups, self.test_share, higher, binary)

    def _by_class(self) -> Values:
        """What is right, weighted so that each class of a test part counts the same."""
        weights = np.empty(self.folds.shape)
        for repeat, folds in enumerate(self.folds):
            for fold in np.unique(folds):
                rows = np.flatnonzero(folds == fold)
                codes, place, counts = np.unique(self.y[rows], return_inverse=True, return_counts=True)
                weights[repeat, rows] = (len(rows) / (len(codes) * counts))[place]
        return {row: one * weights for row, one in self.correct.items()}


def image_results(store: FeatureStore, run: dict[str, Any], cells: Sequence[str]) -> ImageResults | None:
    """Of ``cells``, those of whole repeats of ``run``; None where there is none with a result."""
    table = run_query(store, "images", [list(cells)])
    if not len(table):
        return None
    names = _names(store, cells)
    (ids, place), (repeats, repeat), (seeds, seed) = (_numbered(table[name]) for name in ("ImgId", "repeat", "seed"))
    y = np.zeros(len(ids), np.int64)
    y[place] = table["y"].to_numpy()
    folds = np.full((len(repeats), len(ids)), -1, np.int64)
    folds[repeat, place] = table["fold"].to_numpy()
    shape = len(names), len(seeds), len(repeats), len(ids)
    where = np.ravel_multi_index((table["number"].to_numpy(), seed, repeat, place), shape)
    whole = (folds >= 0).all(axis=1)

    def spread(values: NDArray[np.float64]) -> Values:
        held = np.full(shape, np.nan)
        held.reshape(-1)[where] = values
        found = _over_seeds(held)[:, whole]
        found[np.isnan(found).any(axis=2)] = np.nan
        return {name: one for name, one in zip(names, found, strict=True) if not np.isnan(one[:, 0]).all()}

    return ImageResults(
        ids.astype(np.int32),
        y,
        folds[whole],
        groups_of(store, run, ids),
        _test_share(store, cells),
        spread(table["correct"].to_numpy().astype(float)),
        spread(-np.log(table["chosen"].to_numpy())),
        spread(table["brier"].to_numpy()),
    )


def _numbered(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """The different values, ascending, and the place of each value among them."""
    known = np.sort(pc.unique(column).to_numpy())
    return known, pc.index_in(column, pa.array(known)).to_numpy()


def _over_seeds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(rows, seeds, repeats, n)`` → the means of those that are known, ``(rows, repeats, n)``."""
    if values.shape[1] == 1:
        return values[:, 0]
    # Seeds in one order: the last bit of a sum depends on it.
    sums, counts = np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def split_results(store: FeatureStore, run: dict[str, Any], cells: Sequence[str], metric: str) -> Results | None:
    """By any metric: one score a split, means over the seeds; whole repeats of a row only."""
    table = run_query(store, "scores", [list(cells)]).to_pandas()
    table = table[(table["metric"] == metric) & (table["size"] == 1.0)]
    if not len(table):
        return None
    wide = table.pivot_table(index=["backbone", "head"], columns=["repeat", "fold"], values="score", aggfunc="mean")
    values = wide.to_numpy(float)
    in_repeat = wide.notna().T.groupby(level="repeat").transform("sum").T.to_numpy()
    folds = wide.notna().any().groupby(level="repeat").transform("sum").to_numpy()
    values = np.where(in_repeat == folds, values, np.nan)
    found = {row: values[place][None] for place, row in enumerate(wide.index) if not np.isnan(values[place]).all()}
    share = float((table["n_test"] / table["n_train"]).mean())
    higher = TASKS[run["task"]][metric].better == "higher"
    nothing = np.empty(0, np.int64)
    return Results(found, nothing, nothing, share, higher, by_split=True) if found else None


def whole_cells(store: FeatureStore, run: dict[str, Any]) -> list[str]:
    """The cells of whole repeats: of a run that was cut short only these count."""
    tried = run_query(store, "whole", [sorted(ONE_REPEAT), run.get("peers", [run["run_id"]])])["cell"].to_pylist()
    return sorted(set(tried).intersection(run["cells"]))


def _names(store: FeatureStore, cells: Sequence[str]) -> list[Row]:
    """The rows in the order of their numbers in ``images.sql``."""
    found = store.sql(
        "SELECT DISTINCT backbone, head FROM bench_cells WHERE cell IN (SELECT unnest(?)) AND status = 'ok' "
        "AND size = 1.0 ORDER BY backbone, head",
        [list(cells)],
    )
    return list(zip(found["backbone"].to_pylist(), found["head"].to_pylist(), strict=True))


def _test_share(store: FeatureStore, cells: Sequence[str]) -> float:
    """``n_test / n_train``, the mean over the splits."""
    found = store.sql(
        "SELECT avg(share ORDER BY repeat, fold) AS share "
        "FROM (SELECT repeat, fold, any_value(n_test / n_train) AS share "
        "FROM bench_cells WHERE cell IN (SELECT unnest(?)) AND status = 'ok' AND size = 1.0 GROUP BY repeat, fold)",
        [list(cells)],
    )
    return float(found["share"][0].as_py())


def groups_of(store: FeatureStore, run: dict[str, Any], ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """The duplicate groups that the runs of a table had; images that no run names are copies of none."""
    groups = np.arange(len(ids), dtype=np.int64)
    if not store.has("bench_groups"):
        return groups
    rows = store.sql(
        "SELECT DISTINCT ImgId, copies FROM bench_groups WHERE run_id IN (SELECT unnest(?)) ORDER BY ImgId, copies",
        [run.get("peers", [run["run_id"]])],
    )
    known, copies = rows["ImgId"].to_numpy(), rows["copies"].to_numpy()
    place = np.minimum(np.searchsorted(ids, known), len(ids) - 1)
    found = ids[place] == known
    # Numbers of groups are made from their first image, which no other group has.
    groups[place[found]] = len(ids) + copies[found]
    return groups
