"""What to do after a comparison, in sentences: which row to take, what it never predicts, what would tell more."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.report.claims import learned_of, seen_note
from benchmarks.report.columns import spelled
from benchmarks.results.breakdown import Row, RowPredictions
from benchmarks.scores.factors import Spread
from benchmarks.scores.significance import name_of

TableRow = dict[str, Any]
# How many classes a sentence names.
NAMED = 5


def advice(
    table: dict[str, Any], rows: Sequence[TableRow], predicted: Mapping[Row, RowPredictions], classes: Sequence[str]
) -> list[str]:
    """Sentences in the order of their use; fewer where a run does not tell.

    Parameters
    ----------
    rows
        Those that learned from the whole training part, best first.
    predicted
        The predictions of the rows; empty where they are not shown.
    """
    learned = learned_of(rows)
    if not learned:
        return []
    taken = cheapest(learned) or learned[0]
    found = _take(learned, taken)
    if name_of(taken) in predicted:
        found += _never(taken, predicted[name_of(taken)], classes)
    found += _factors(table)
    return [*found, *(f"{note[:1].upper()}{note[1:]}." for note in seen_note(table))]


def cheapest(rows: Sequence[TableRow]) -> TableRow | None:
    """The row of the set of best rows whose fit takes the least; None where nothing is compared or measured."""
    best = [row for row in rows if row["in_best_set"]]
    measure = _measure(best)
    return min(best, key=lambda row: (row[measure], *name_of(row))) if measure else None


def _measure(rows: Sequence[TableRow]) -> str | None:
    """By what the costs of all ``rows`` can be compared: measured alone where all were, else within the run."""
    known = ("cost_fit_seconds", "fit_seconds")
    return next((name for name in known if rows and all(row.get(name) is not None for row in rows)), None)


def _take(learned: Sequence[TableRow], taken: TableRow) -> list[str]:
    best = [row for row in learned if row["in_best_set"]]
    measure = _measure(best)
    if not measure or len(learned) < 2:
        return []
    seconds = _seconds(taken[measure])
    if len(best) == 1:
        return [f"Take {_named(taken)}: one fit takes {seconds}."]
    first = learned[0]
    beside = "" if first is taken else f", that of {_named(first)}, the first of the table, {_seconds(first[measure])}"
    return [f"Take {_named(taken)}, the cheapest of the set of best rows: one fit takes {seconds}{beside}."]


def _never(taken: TableRow, row: RowPredictions, classes: Sequence[str]) -> list[str]:
    counts = row.confusion
    support = row.per_class["support"]
    absent = [place for place in np.flatnonzero(counts.sum(axis=0) == 0).tolist() if support[place] > 0]
    if not absent:
        return []
    named = ", ".join(f"{classes[place]} ({support[place]:.0f} images)" for place in absent[:NAMED])
    more = f" and {len(absent) - NAMED} more classes" if len(absent) > NAMED else ""
    return [f"{_named(taken)} never predicts {named}{more}, which its accuracy does not show."]


def _factors(table: dict[str, Any]) -> list[str]:
    found = table.get("factors")
    if not found:
        return []
    metric = spelled(table["rank_by"])
    backbones, heads = (Spread(**found[name]) for name in ("backbones", "heads"))
    return [
        f"Averaged over heads, the backbones differ by up to {_spread(backbones)}; averaged over backbones, the heads "
        f"by up to {_spread(heads)}, in {metric}."
    ]


def _spread(spread: Spread) -> str:
    tested = "significantly" if spread.significant else "not significantly"
    return f"{spread.difference:.3f} ({spread.best} over {spread.worst}, {tested})"


def _named(row: TableRow) -> str:
    return f"{row['head']} over {row['backbone']}"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 0.01 else f"{1000 * value:.1f} ms"
