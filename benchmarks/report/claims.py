"""The conclusions of a table in sentences: each is made only where the table's own inference supports it."""

from collections.abc import Sequence
from typing import Any

from benchmarks.report import formats
from benchmarks.report.columns import spelled
from benchmarks.scores.metrics import TASKS
from benchmarks.scores.significance import is_majority, is_significant, name_of

TableRow = dict[str, Any]
FLOORS = {"multiclass": "the most frequent class alone gives", "multilabel": "the label rates alone give"}
# Differences that are worth collecting images for.
WANTED = 0.01


def answer(table: dict[str, Any], mine: Sequence[TableRow], *, floor: float | None, metric: str) -> str:
    """What the run says, in two or three sentences.

    Parameters
    ----------
    mine
        The rows of the run itself that learned from the whole training part, best first.
    floor
        As `floor_score` gives it.
    """
    if not mine:
        return "No head finished."
    learned = learned_of(mine)
    if not learned:
        return f"Only the most frequent class was tried: {_score(mine[0], metric)}."
    sentences = [_first(table, learned, metric)]
    if floor is not None:
        sentences.append(_capital(floor_note(table, learned, floor=floor)))
    return ". ".join([*sentences, ""]).rstrip()


def floor_score(table: dict[str, Any], rows: Sequence[TableRow], metric: str) -> float | None:
    """What naming the most frequent class scores: by its row, or by the labels; None where neither tells."""
    row = next((row for row in rows if is_majority(name_of(row))), None)
    if row:
        return float(row[metric])
    tested = next((row for row in rows if row.get("p_majority") is not None), None)
    if tested:
        return float(tested[metric] - tested["over_majority"])
    if metric == "accuracy" and table.get("class_counts"):
        return float(max(table["class_counts"]) / sum(table["class_counts"]))
    return None


def floor_note(table: dict[str, Any], rows: Sequence[TableRow], *, floor: float) -> str:
    """What the most frequent class scores, and whether the best row is significantly better."""
    said = f"{FLOORS[table['task']]} {floor:.3f}"
    best = next((row for row in rows if row.get("p_majority") is not None), None)
    if best is None:
        return said
    name = "the best row" if len(learned_of(rows)) > 1 else f"{best['head']} over {best['backbone']}"
    difference, p = best["over_majority"], formats.p_value(best["p_majority"])
    if not is_significant(best["p_majority"]):
        return f"{said}; {name} is not significantly different from it ({difference:+z.3f}, {p})"
    if (difference < 0) == _higher(table):
        return f"{said}; {name} is significantly worse ({difference:+z.3f}, {p})"
    return f"{said}; {name} gains {difference:+z.3f} ({p})"


def best_note(rows: Sequence[TableRow], metric: str) -> list[str]:
    """What the sign ≈ of a table means; nothing where no rows are compared."""
    learned = learned_of(rows)
    if len(learned) < 2:
        return []
    if not any(row.get("rank") for row in learned):
        return [f"differences are not tested: one split, and {spelled(metric)} is no mean over images"]
    best = [row for row in learned if row["in_best_set"]]
    if len(best) == 1:
        return [f"≈: {best[0]['head']} over {best[0]['backbone']} is significantly better than every other row"]
    return [f"≈: the set of best rows by {spelled(metric)}, {len(best)} of {len(learned)}, at 95 % confidence"]


def seen_note(table: dict[str, Any]) -> list[str]:
    """The smallest difference that a table could have seen, and how many images a small one would need."""
    smallest = table.get("smallest_seen")
    if not smallest:
        return []
    metric = spelled(table["rank_by"])
    text = f"a difference of {metric} from R below {smallest:.3f} would probably not have been seen (power 80 %)"
    if smallest > WANTED:
        needed = table["n_rows"] * (smallest / WANTED) ** 2
        text += f"; one of {WANTED} needs about {_rounded(needed):,} images"
    return [text]


def learned_of(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows that are candidates."""
    return [row for row in rows if not is_majority(name_of(row))]


def _first(table: dict[str, Any], learned: Sequence[TableRow], metric: str) -> str:
    best, *others = learned
    score, images = _score(best, metric), f"{table['n_rows']:,} images"
    name = f"{best['head']} over {best['backbone']}"
    if not others:
        return f"{name}, on {images}: {score}"
    if not any(row.get("rank") for row in learned):
        return f"{name} has the best {score} on {images}; no difference from it could be tested"
    top = [row for row in learned if row["in_best_set"]]
    if len(top) == 1 and top[0] is best:
        which = "every other row" if len(learned) == len(table["rows"]) else "every other row that learns"
        return f"{name} is significantly better than {which} on {images}: {score}"
    if len(top) == len(learned):
        return f"None of the {len(learned)} rows is significantly better than any other on {images}; {name}: {score}"
    return (
        f"There is no single winner on {images}: the set of best rows, at 95 % confidence, holds {len(top)} of "
        f"{len(learned)}; the first is {name}, {score}"
    )


def _score(row: TableRow, metric: str) -> str:
    low, high = (row["interval"] if metric == "accuracy" else None) or (None, None)
    interval = "" if low is None else f" (95 % interval {low:.3f} to {high:.3f})"
    return f"{spelled(metric)} {row[metric]:.3f}{interval}"


def _higher(table: dict[str, Any]) -> bool:
    return TASKS[table["task"]][table["rank_by"]].better == "higher"


def _rounded(number: float) -> int:
    """To two digits."""
    digits = max(len(str(int(number))) - 2, 0)
    return round(int(number), -digits)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
