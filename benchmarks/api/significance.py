"""Which rows of a table of predictions differ, whoever made them: the statistics of a comparison as one function."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.api.arguments import number
from benchmarks.api.drawing import Drawing
from benchmarks.api.predictions import PredictedTable, from_table
from benchmarks.report.charts import Interval, intervals
from benchmarks.report.columns import spelled
from benchmarks.report.formats import lined_up
from benchmarks.scores.inference import Inference, Results, Row, infer, ordered
from benchmarks.scores.significance import is_majority
from featurestore.display import block, grid
from featurestore.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("accuracy", "log_loss")
# n_test / n_train where the folds don't say it: of five equal parts one is tested.
TEST_SHARE = 0.25


@dataclass(frozen=True, eq=False, repr=False)
class Significance:
    """Rows of predictions with what is known of their differences; printed, a small table.

    All statements hold together with probability 95 %. Rows named ``majority`` are no candidates: nothing is corrected
    for them, and they have no rank.

    Parameters
    ----------
    scores
        The mean over the splits by name, best first.
    reference
        The row that `differences` and `plot` compare with; None for all pairs.
    about
        What was compared, in words.
    """

    metric: str
    scores: Mapping[str, float]
    inference: Inference
    reference: str | None
    about: str

    @property
    def best_set(self) -> tuple[str, ...]:
        """The rows that no other is significantly better than, best first."""
        best = {name for name, _ in self.inference.best}
        return tuple(name for name in self.scores if name in best)

    def to_pandas(self) -> "pd.DataFrame":
        """Best row first: row, score, rank_low and rank_high (the places that it may have), in_best_set."""
        import pandas as pd

        best, ranks = self.best_set, {name: places for (name, _), places in self.inference.ranks.items()}
        lines = [(name, score, *ranks.get(name, (None, None)), name in best) for name, score in self.scores.items()]
        frame = pd.DataFrame(lines, columns=["row", "score", "rank_low", "rank_high", "in_best_set"])
        return frame.astype({"rank_low": "Int64", "rank_high": "Int64"})

    def differences(self, reference: str | None = None) -> "pd.DataFrame":
        """Pairs of rows: first, second, difference, low, high, p_value, verdict (of the first).

        ``low`` and ``high`` are the ends of simultaneous 95 % intervals; NaN where a row is no candidate.

        Parameters
        ----------
        reference
            The second of each pair; that of the whole when None, and all pairs where that has none.

        Raises
        ------
        InputError
            When there is no such row.
        """
        import pandas as pd

        second = self.reference if reference is None else _known(reference, self.scores)
        names = list(self.scores)
        pairs = list(combinations(names, 2)) if second is None else [(one, second) for one in names if one != second]
        columns = ["first", "second", "difference", "low", "high", "p_value", "verdict"]
        return pd.DataFrame([self._pair(*pair) for pair in pairs], columns=columns)

    def plot(self) -> Drawing:
        """The differences from the reference, or from the first row, with their intervals; filled: in the best set."""
        against, best = self.reference or next(iter(self.scores)), self.best_set
        shown = [
            Interval(one, difference, low, high, one in best)
            for one, _, difference, low, high, _, _ in (self._pair(name, against) for name in self.scores)
            if one != against and low is not None
        ]
        title = f"Differences from {against}"
        return Drawing(intervals(shown, title=title, axis=f"difference of {spelled(self.metric)}", line=0.0))

    def _pair(self, first: str, second: str) -> tuple[Any, ...]:
        one, other = _row(first), _row(second)
        difference, low, high = self.inference.interval(one, other)
        if is_majority(one) or is_majority(other) or np.isnan(low):
            return first, second, difference, None, None, None, None
        judged = self.inference.p_value(one, other), self.inference.verdict(one, other)
        return first, second, difference, low, high, *judged

    def __repr__(self) -> str:
        """What was compared, and the rows; ≈ marks those of the best set."""
        best, ranks = self.best_set, {name: places for (name, _), places in self.inference.ranks.items()}
        lines = [("row", spelled(self.metric), "rank", "")]
        for name, score in self.scores.items():
            rank = " – ".join(map(str, dict.fromkeys(ranks.get(name, ()))))
            lines.append((name, f"{score:.3f}", rank, "≈" if name in best else ""))
        return "\n".join([self.about, *lined_up(lines, gap=2), f"≈: {self._meaning}"])

    def _repr_html_(self) -> str:
        frame = self.to_pandas().rename(columns={"score": spelled(self.metric)})
        known = frame.map(lambda value: f"{value:.3f}" if isinstance(value, float) else str(value))
        rows = known.where(frame.notna(), "").to_numpy().tolist()
        return block(self.about, grid(list(frame.columns), rows, numbers=(1, 2, 3)))

    @property
    def _meaning(self) -> str:
        return f"the set of best rows by {spelled(self.metric)} at 95 % confidence"


def significance(
    predictions: Any, *, metric: str = "accuracy", reference: str | None = None, test_share: float | None = None
) -> Significance:
    """Compare all rows of a table of predictions with each other, as the table of a comparison does.

    Parameters
    ----------
    predictions
        One prediction a line: a frame, an Arrow table or lists by name, with ``row`` (or ``backbone`` and ``head``),
        ``id``, ``y``, and ``proba``, ``proba_CLASS`` or ``predicted``; ``repeat``, ``fold``, ``seed`` and ``group``
        where there are any (see `predictions.from_table`). Without ``fold`` each repeat is one split.
    metric
        ``accuracy``, or ``log_loss``, for which probabilities are needed.
    test_share
        ``n_test / n_train``. When None, by the folds; where they don't say it, 0.25, as if one of five parts is tested.

    Raises
    ------
    InputError
        When the table can't be used, or there is no such metric or reference.

    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(2, size=200)
    >>> rows = {"good": np.where(rng.random(200) < 0.9, y, 1 - y), "chance": rng.integers(2, size=200)}
    >>> table = {"row": np.repeat(list(rows), 200), "id": np.tile(np.arange(200), 2), "y": np.tile(y, 2)}
    >>> significance({**table, "predicted": np.concatenate(list(rows.values()))}).best_set
    ('good',)
    """
    if metric not in METRICS:
        raise InputError(f"got {metric!r} as metric, expected {' or '.join(METRICS)}")
    if test_share is not None:
        number(test_share, "test_share")
        if not 0 < test_share < float("inf"):
            raise InputError(f"got {test_share!r} as test_share (n_test / n_train), expected a number above 0")
    table = from_table(predictions)
    folds = np.zeros((table.repeats, len(table.ids)), np.int64) if table.folds is None else table.folds
    values = _values(table, metric)
    groups = np.arange(len(table.ids)) if table.groups is None else table.groups
    share = _test_share(folds) if test_share is None else test_share
    higher, means = metric == "accuracy", {row: _mean(one, folds) for row, one in values.items()}
    results = Results(values, folds, groups, share, higher=higher, binary=higher)
    inference = infer(results, left_out=[row for row in values if is_majority(row)])
    scores = {row[0]: means[row] for row in ordered(list(values), means, higher=higher)}
    second = None if reference is None else _known(reference, scores)
    repeats = f", {table.repeats} repeats" if table.repeats > 1 else ""
    return Significance(metric, scores, inference, second, f"{len(scores)} rows on {len(table.ids):,} ids{repeats}")


def _row(name: str) -> Row:
    """A row as the statistics name it: second what tells the most frequent class from a candidate."""
    return name, name.rpartition("/")[2]


def _known(reference: Any, names: Mapping[str, float]) -> str:
    if reference not in list(names):
        raise InputError(f"got {reference!r} as the reference, expected one of {', '.join(names)}")
    return str(reference)


def _values(table: PredictedTable, metric: str) -> dict[Row, NDArray[np.float64]]:
    """What the rows have on each id, in the order of backbone and head: random draws depend on it."""
    found = {}
    for name in sorted(table.rows, key=lambda name: name.rpartition("/")):
        one = table.rows[name].correct if metric == "accuracy" else table.rows[name].log_loss
        if one is None:
            raise InputError("log_loss needs probabilities, and the predictions have classes alone: add `proba`")
        found[_row(name)] = one
    return found


def _splits(folds: NDArray[np.int64]) -> Sequence[tuple[int, NDArray[np.bool_]]]:
    return [(repeat, own == fold) for repeat, own in enumerate(folds) for fold in np.unique(own)]


def _mean(values: NDArray[np.float64], folds: NDArray[np.int64]) -> float:
    """The mean over the splits of a row, each of the same weight."""
    means = [values[repeat, tested].mean() for repeat, tested in _splits(folds)]
    return float(np.nanmean(means))


def _test_share(folds: NDArray[np.int64]) -> float:
    """``n_test / n_train``, the mean over the splits; where all ids are tested at once, `TEST_SHARE`."""
    sizes = np.array([tested.sum() for _, tested in _splits(folds)])
    learned = folds.shape[1] - sizes
    return float((sizes / learned).mean()) if learned.all() else TEST_SHARE
