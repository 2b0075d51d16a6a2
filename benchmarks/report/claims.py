"""The conclusions of a table in sentences: each is made only where a test supports it, and names that test."""

from collections.abc import Sequence
from typing import Any

from benchmarks.report import formats
from benchmarks.scores.difference import ALPHA
from benchmarks.scores.significance import is_majority

TableRow = dict[str, Any]
FLOORS = {"multiclass": "the most frequent class alone gives", "multilabel": "the label rates alone give"}


def answer(table: dict[str, Any], mine: Sequence[TableRow], *, floor: float | None, metric: str) -> str:
    """What the run says, in two sentences.

    Parameters
    ----------
    mine
        The rows of the run itself that learned from the whole training part, best first.
    floor
        As `floor_score` gives it.
    """
    if not mine:
        return "No head finished."
    learned = _learned(mine)
    if not learned:
        return f"Only the most frequent class was tried: {_score(mine[0], metric)}."
    first = _first(table, mine, metric)
    if floor is None:
        return f"{first}."
    return f"{first}. {_capital(floor_note(table, learned, floor=floor))}."


def floor_score(table: dict[str, Any], rows: Sequence[TableRow], metric: str) -> float | None:
    """What naming the most frequent class scores: by its row, or by the labels; None where neither tells."""
    row = next((row for row in rows if is_majority(_name(row))), None)
    if row:
        return float(row[metric])
    tested = next((row for row in rows if row.get("p_majority") is not None), None)
    if tested:
        return float(tested[metric] - tested["over_majority"])
    if table["task"] == "multiclass" and table.get("class_counts"):
        return float(max(table["class_counts"]) / sum(table["class_counts"]))
    return None


def floor_note(table: dict[str, Any], rows: Sequence[TableRow], *, floor: float) -> str:
    """What the most frequent class scores, and whether the best row is better by its own test."""
    said = f"{FLOORS[table['task']]} {floor:.3f}"
    best = next((row for row in rows if row.get("p_majority") is not None), None)
    if best is None:
        return said
    name = "the best row" if len(_learned(rows)) > 1 else f"{best['head']} over {best['backbone']}"
    difference, p = best["over_majority"], formats.p_value(best["p_majority"])
    if best["p_majority"] >= ALPHA:
        return f"{said}; {name} is not significantly different from it ({difference:+z.3f}, {p})"
    if difference < 0:
        return f"{said}; {name} is significantly worse ({difference:+z.3f}, {p})"
    return f"{said}; {name} gains {difference:+z.3f} ({p})"


def tie_note(rows: Sequence[TableRow]) -> str | None:
    """What the sign ≈ of a table means, or what no such sign means; None where no rows are compared."""
    learned = _learned(rows)
    tied = [row for row in rows if row["tied_with_best"]]
    test = next((row["test"] for row in rows if row.get("test")), None)
    if len(learned) > 1 and not test:
        return "differences are not tested: there is one split, and the score is no mean over images"
    corrected = ", Holm over all pairs" if len(learned) > 1 else ""
    if len(tied) > 1:
        return f"{len(tied)} rows (≈) are not significantly different from the best ({test}{corrected})"
    if _is_clear(learned):
        return f"the best row is significantly better than every other ({test}{corrected})"
    return None


def _first(table: dict[str, Any], mine: Sequence[TableRow], metric: str) -> str:
    best, *others = learned = _learned(mine)
    score, rows = _score(best, metric), f"{table['n_rows']:,} images"
    name = f"{best['head']} over {best['backbone']}"
    tied = sum(row["tied_with_best"] for row in mine)
    if not others:
        return f"{name}, on {rows}: {score}"
    if len({round(row[metric], 9) for row in learned}) == 1:
        which = "rows" if len(learned) == len(mine) else "rows that learn"
        return f"All {len(learned)} {which} have the same {score}"
    if any(row["tied_with_best"] for row in others):
        return (
            f"There is no single winner: {tied} of {len(mine)} rows are not significantly different from the highest, "
            f"{name}, {score}"
        )
    if _is_clear(learned):
        which = "every other row that learns" if tied > 1 else "every other row"
        return f"{name} is significantly better than {which} on {rows}: {score}"
    some = "not every difference" if any(row.get("p_best") is not None for row in others) else "no difference"
    return f"{name} is the highest row on {rows}, {score}; {some} from it could be tested"


def _is_clear(learned: Sequence[TableRow]) -> bool:
    """Whether the best of several rows is better than each other one by its test."""
    others = [row.get("p_best") for row in learned[1:]]
    return bool(others) and all(p is not None and p < ALPHA for p in others)


def _learned(rows: Sequence[TableRow]) -> list[TableRow]:
    return [row for row in rows if not is_majority(_name(row))]


def _name(row: TableRow) -> tuple[str, str]:
    return row["backbone"], row["head"]


def _score(row: TableRow, metric: str) -> str:
    low, high = row["interval"] or (None, None)
    interval = "" if low is None else f" (95 % interval {low:.3f} to {high:.3f})"
    return f"{formats.spelled(metric)} {row[metric]:.3f}{interval}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
