"""Which rows of a table differ: from the reference, from the best row, from the most frequent class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores.difference import ALPHA, corrected_t_test, holm, mcnemar, practical

Row = tuple[str, str]
# Scores on each split, and which images were right.
Results = tuple[NDArray[np.float64], NDArray[Any] | None]
MODERATED, PLAIN, EXACT = (
    "corrected resampled t-test with moderated variance",
    "corrected resampled t-test",
    "McNemar's exact test",
)


def is_majority(row: Row) -> bool:
    """Whether a row names the most frequent class and nothing else: the floor, not a candidate."""
    return row[1] == "majority"


@dataclass(frozen=True)
class RowDifference:
    """One row against another over the same splits; ``difference`` is the mean of the first minus the second."""

    difference: float
    p_value: float
    p_better: float = float("nan")
    p_equal: float = float("nan")
    p_worse: float = float("nan")


FIELDS = tuple(field.name for field in fields(RowDifference))


class Scores:
    """The scores of a table's rows on the same splits, and what each had right: what all comparisons are made of.

    Two rows are compared over the splits that both have. Rows of the head ``majority`` are no candidates: however many
    there are, no other comparison is corrected for them.

    Parameters
    ----------
    splits
        For each row (backbone, head) its score on each split, ``(repeats * folds,)``, one repeat after the other; NaN
        where it has none.
    right
        For each row what it had right, ``(repeats, n)`` or, of one split, ``(n,)``, the same images for every row:
        0, 1, or the share of its seeds; NaN where it was not tested. Empty where a score is no mean over images.
    test_share
        ``n_test / n_train``, one number or one of each split.
    floor
        Scores and right images of always naming the most frequent class, for when no row of the table does that.
    """

    def __init__(
        self,
        splits: Mapping[Row, NDArray[np.float64]],
        *,
        right: Mapping[Row, NDArray[Any]],
        test_share: float | NDArray[np.float64],
        repeats: int,
        floor: Results | None = None,
    ) -> None:
        self.splits = dict(splits)
        self.right = right
        self.test_share = test_share
        self.repeats = repeats
        self.floor = floor

    @property
    def test(self) -> str | None:
        """The name of the test; None where one split of scores that are no means over images leaves none."""
        if all(len(scores) == 1 for scores in self.splits.values()):
            return EXACT if self.right else None
        return MODERATED if self.right else PLAIN

    def compare(self, first: Row, second: Row) -> RowDifference:
        """One row against another; NaN where they have no split in common."""
        return self._compared(self._results(first), self._results(second))

    def against(self, reference: Row) -> dict[Row, tuple[RowDifference, float]]:
        """Every other row against ``reference``: the comparison, and its p value after Holm's correction."""
        found = {row: self.compare(row, reference) for row in self.splits if row != reference}
        family = [row for row in found if not is_majority(row)]
        adjusted = dict(zip(family, holm([found[row].p_value for row in family]), strict=True))
        return {row: (one, adjusted.get(row, one.p_value)) for row, one in found.items()}

    def from_best(self, best: Row) -> dict[Row, float]:
        """The p value of every other row's difference from ``best``.

        The best of many is picked by the data, so its comparisons are corrected as all pairs are, not as those with one
        row named beforehand; that with the most frequent class, as one of each candidate with it.
        """
        pairs = list(combinations(self._candidates, 2))
        adjusted = holm([self._p_value(self._results(first), self._results(second)) for first, second in pairs])
        family = {frozenset(pair): p for pair, p in zip(pairs, adjusted, strict=True)}
        found = {}
        for row in self.splits:
            if row != best:
                pair = frozenset((row, best))
                alone = self._picked(self._p_value(self._results(best), self._results(row)))
                found[row] = family.get(pair, alone)
        return found

    def over_majority(self, best: Row) -> RowDifference | None:
        """The best row against always naming the most frequent class; None where it is not known what that scores."""
        own = self._results(best)
        floors = [self._results(other) for other in self.splits if is_majority(other)]
        floors += [self.floor] if self.floor and not floors else []
        if not floors:
            return None
        # All of them name the same class; the one that was run on the most of the row's splits tells the most.
        found = self._compared(own, max(floors, key=lambda floor: int(_both(own, floor).sum())))
        return replace(found, p_value=self._picked(found.p_value))

    @property
    def _candidates(self) -> list[Row]:
        return [row for row in self.splits if not is_majority(row)]

    def _picked(self, p_value: float) -> float:
        """A p value of the best candidate, corrected for how many it was picked from (Bonferroni)."""
        return float(np.minimum(1.0, p_value * max(1, len(self._candidates))))

    def _results(self, row: Row) -> Results:
        return self.splits[row], self.right.get(row)

    def _compared(self, first: Results, second: Results) -> RowDifference:
        both = _both(first, second)
        if not both.any():
            return RowDifference(float("nan"), float("nan"))
        difference = float((first[0] - second[0])[both].mean())
        p_value = self._p_value(first, second)
        if len(both) == 1:
            return RowDifference(difference, p_value)
        # The Bayesian test takes whole repeats only.
        whole = np.repeat(both.reshape(self.repeats, -1).all(axis=1), len(both) // self.repeats)
        if not whole.any():
            return RowDifference(difference, p_value)
        repeats = int(whole.sum()) * self.repeats // len(both)
        return RowDifference(difference, p_value, *practical(first[0][whole], second[0][whole], repeats=repeats))

    def _p_value(self, first: Results, second: Results) -> float:
        both = _both(first, second)
        differences = _right_apart(first, second)
        if not both.any():
            return float("nan")
        if len(both) == 1:
            return float("nan") if differences is None else mcnemar(differences > 0, differences < 0)
        expected = None if differences is None else float(differences.var() / (len(differences) / both.sum()))
        share = float(np.broadcast_to(self.test_share, both.shape)[both].mean())
        return corrected_t_test(first[0][both], second[0][both], test_share=share, expected=expected)


def _both(first: Results, second: Results) -> NDArray[np.bool_]:
    """The splits on which both have a score."""
    return ~np.isnan(first[0] - second[0])


def _right_apart(first: Results, second: Results) -> NDArray[np.float64] | None:
    """First right minus second right, over every image that both were tested on; None where that is not known."""
    if first[1] is None or second[1] is None:
        return None
    differences = (np.asarray(first[1], float) - np.asarray(second[1], float)).ravel()
    differences = differences[~np.isnan(differences)]
    return differences if len(differences) else None


def annotate(rows: Sequence[dict[str, Any]], scores: Scores, *, reference: Row | None) -> None:
    """Add the answers to the rows of a comparison table, best first, in place.

    Every row gets ``reference``, ``difference``, ``p_value``, ``p_holm``, ``different``, ``p_better``, ``p_equal``,
    ``p_worse`` and ``p_best``, the p value of its difference from the best row that is a candidate (None where they
    don't apply), ``tied_with_best`` (the best itself included), ``alone`` (where it is the only one), ``test``, and
    the best one ``over_majority`` and ``p_majority``, its difference from always naming the most frequent class.
    """
    names = [(row["backbone"], row["head"]) for row in rows]
    best = next((name for name in names if name in scores.splits and not is_majority(name)), None)
    from_best = scores.from_best(best) if best else {}
    tied = {best} | {name for name, p in from_best.items() if p >= ALPHA}
    against = scores.against(reference) if reference in names and reference in scores.splits and reference else {}
    for name, row in zip(names, rows, strict=True):
        comparison, p_holm = against.get(name, (None, None))
        floor = scores.over_majority(name) if name == best else None
        row["reference"] = name == reference
        row["test"] = scores.test
        row["tied_with_best"] = name in tied
        row["alone"] = tied == {name}
        row |= {field: _known(getattr(comparison, field, None)) for field in FIELDS}
        row["p_holm"], row["p_best"] = _known(p_holm), _known(from_best.get(name))
        row["different"] = row["p_holm"] is not None and row["p_holm"] < ALPHA
        row["over_majority"] = _known(floor.difference) if floor else None
        row["p_majority"] = _known(floor.p_value) if floor else None


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else value
