"""What to do after a comparison, in sentences: which row to take, what it never predicts, what would tell more."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.report.claims import learned_of, seen_note
from benchmarks.report.columns import spelled
from benchmarks.results.breakdown import Row, RowPredictions
from benchmarks.scores.factors import Spread
from benchmarks.scores.significance import learns, name_of

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
    found = _take(learned, taken) + _without_labels(table, learned)
    if name_of(taken) in predicted:
        found += _never(taken, predicted[name_of(taken)], classes)
    found += _factors(table)
    return [*found, *(f"{note[:1].upper()}{note[1:]}." for note in seen_note(table))]


def cheapest(rows: Sequence[TableRow]) -> TableRow | None:
    """The row of the set of best rows whose fit takes the least; None where nothing is compared or measured.

    A row that learns nothing costs nothing: it is only taken where no other is in the set.
    """
    best = _best(rows)
    measure = _measure(best)
    return min(best, key=lambda row: (row[measure], *name_of(row))) if measure else None


def _best(rows: Sequence[TableRow]) -> list[TableRow]:
    """Those of the set of best rows that learn from the labels; all of the set where none does."""
    best = [row for row in rows if row["in_best_set"]]
    return [row for row in best if learns(name_of(row))] or best


def _measure(rows: Sequence[TableRow]) -> str | None:
    """By what the costs of all ``rows`` can be compared: measured alone where all were, else within the run."""
    known = ("cost_fit_seconds", "fit_seconds")
    return next((name for name in known if rows and all(row.get(name) is not None for row in rows)), None)


def _take(learned: Sequence[TableRow], taken: TableRow) -> list[str]:
    best = _best(learned)
    measure = _measure(best)
    if not measure or len(learned) < 2:
        return []
    if not learns(name_of(taken)):
        return [f"Take {_named(taken)}: it needs no labels, and no row that learns from them is as good."]
    seconds = _seconds(taken[measure])
    if len(best) == 1:
        return [f"Take {_named(taken)}: one fit takes {seconds}."]
    first, beside = learned[0], ""
    if first is not taken and learns(name_of(first)):
        beside = f", that of {_named(first)}, the first of the table, {_seconds(first[measure])}"
    bare = sum(row["in_best_set"] for row in learned) > len(best)
    which = " that learn" if bare else ""
    return [f"Take {_named(taken)}, the cheapest of the set of best rows{which}: one fit takes {seconds}{beside}."]


def _without_labels(table: dict[str, Any], learned: Sequence[TableRow]) -> list[str]:
    """What the labels gain over the best row that needs none; nothing where rows are not compared."""
    bare = next((row for row in learned if not learns(name_of(row))), None)
    best = next((row for row in learned if learns(name_of(row))), None)
    if bare is None or best is None or not any(row["in_best_set"] for row in learned):
        return []
    metric = table["rank_by"]
    said = f"{_named(bare)}, which learns nothing from the labels, has {spelled(metric)} {bare[metric]:.3f}"
    if bare["in_best_set"]:
        return [f"{said}: no row that learns from them is significantly better."]
    return [f"{said}: learning from them gains {abs(best[metric] - bare[metric]):.3f}."]


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
