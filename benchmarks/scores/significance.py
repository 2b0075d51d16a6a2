"""What is known of the differences between the rows of a table, written into the rows for tables and sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.scores.inference import ALPHA, Inference, Row

TableRow = dict[str, Any]


def is_majority(row: Row) -> bool:
    """Whether a row names the most frequent class and nothing else: the floor, not a candidate."""
    return row[1] == "majority"


def learns(row: Row) -> bool:
    """Whether a row learns from the labels; `zero_shot`, a candidate, does not."""
    return row[1] not in ("majority", "zero_shot")


def name_of(row: TableRow) -> Row:
    """Backbone and head."""
    return row["backbone"], row["head"]


def annotate(
    rows: Sequence[TableRow], main: Inference | None, *, reference: Row | None, loss: Inference | None = None
) -> None:
    """Add the answers to the rows of a comparison table, best first, in place.

    Every row gets ``reference``, ``in_best_set``, ``rank`` (the best and the worst place that it may have),
    ``difference`` from the reference with ``difference_interval``, ``p_value`` and ``verdict``; the same without the
    first two under ``log_loss_`` names; and the best one ``over_majority`` and ``p_majority``, its difference from
    always naming the most frequent class. None where they don't apply.
    """
    best = next((name_of(row) for row in rows if main and name_of(row) in main.family), None)
    for row in rows:
        name = name_of(row)
        row["reference"] = name == reference
        row["in_best_set"] = bool(main and len(main.family) > 1 and name in main.best)
        row["rank"] = list(main.ranks[name]) if main and name in main.ranks else None
        row |= _against(main, name, reference)
        row["log_loss_in_best_set"] = bool(loss and len(loss.family) > 1 and name in loss.best)
        row["log_loss_rank"] = list(loss.ranks[name]) if loss and name in loss.ranks else None
        row |= {f"log_loss_{field}": value for field, value in _against(loss, name, reference).items()}
        row["over_majority"] = row["p_majority"] = None
        if main and name == best:
            row["over_majority"], row["p_majority"] = _over_floor(main, name)


def _against(inference: Inference | None, row: Row, reference: Row | None) -> TableRow:
    """How a row differs from the reference."""
    nothing: TableRow = dict.fromkeys(("difference", "difference_interval", "p_value", "verdict"))
    if inference is None or reference is None or row == reference or not {row, reference} <= set(inference.rows):
        return nothing
    difference, low, high = inference.interval(row, reference)
    nothing["difference"] = _known(difference)
    if {row, reference} <= set(inference.family) and not np.isnan(low):
        nothing["difference_interval"] = [low, high]
        nothing["p_value"] = _known(inference.p_value(row, reference))
        nothing["verdict"] = inference.verdict(row, reference)
    return nothing


def _over_floor(inference: Inference, best: Row) -> tuple[float | None, float | None]:
    """The best row against always naming the most frequent class; None where it is not known what that scores.

    All rows of that kind name the same class; the one with the most splits in common tells the most.
    """
    floors = [row for row in inference.rows if row not in inference.family]
    if not floors:
        return None, None
    errors = {row: inference.error[inference.place[best], inference.place[row]] for row in floors}
    known = [row for row in floors if not np.isnan(errors[row])]
    if not known:
        return None, None
    floor = min(known, key=lambda row: (errors[row], row))
    return _known(inference.interval(best, floor)[0]), _known(inference.p_value(best, floor))


def smallest_seen(inference: Inference, reference: Row | None, *, power: float = 0.8) -> float | None:
    """The smallest difference from the reference that the table would have called one with probability ``power``.

    By the median standard error of its differences; None where nothing is compared.
    """
    from scipy import stats

    others = [row for row in inference.family if row != reference]
    if reference not in inference.family or not others or np.isnan(inference.critical):
        return None
    errors = [inference.error[inference.place[row], inference.place[reference]] for row in others]
    if np.isnan(errors).all():
        return None
    return float((inference.critical + stats.norm.ppf(power)) * np.nanmedian(errors))


def is_significant(p_value: float | None) -> bool:
    """Whether a p value is below the promised error rate."""
    return p_value is not None and p_value < ALPHA


def _known(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
