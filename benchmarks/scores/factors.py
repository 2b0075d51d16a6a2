"""How much the backbone matters beside the head: the rows of a table averaged over one of the two."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.scores.inference import Inference, Results, Row, infer


@dataclass(frozen=True)
class Spread:
    """The best and the worst of the backbones, averaged over heads, or of the heads, averaged over backbones.

    ``difference`` is how much better the best is, in the metric's own direction; ``significant``: by the critical value
    of the table's own comparisons, so that this one is corrected for like any of them.
    """

    best: str
    worst: str
    difference: float
    significant: bool


@dataclass(frozen=True)
class Factors:
    """Of the rows that make a whole grid of backbones and heads."""

    backbones: Spread
    heads: Spread


def factors(results: Results, inference: Inference) -> Factors | None:
    """What backbone and head contribute; None where fewer than two of each make a grid.

    A head that lacks a backbone, or any of the repeats that the others have, is left out.
    """
    if np.isnan(inference.critical):
        return None
    backbones = list(dict.fromkeys(row[0] for row in inference.family))
    heads = [name for name in dict.fromkeys(row[1] for row in inference.family) if _has_all(results, backbones, name)]
    if len(backbones) < 2 or len(heads) < 2:
        return None
    by_backbone = [[(backbone, head) for head in heads] for backbone in backbones]
    by_head = [[(backbone, head) for backbone in backbones] for head in heads]
    return Factors(
        _spread(results, inference, backbones, by_backbone),
        _spread(results, inference, heads, by_head),
    )


def _has_all(results: Results, backbones: Sequence[str], head: str) -> bool:
    values = [results.values.get((backbone, head)) for backbone in backbones]
    return all(one is not None and not np.isnan(one).any() for one in values)


def _spread(results: Results, inference: Inference, names: Sequence[str], parts: Sequence[Sequence[Row]]) -> Spread:
    values = {
        (name, ""): np.mean([results.values[row] for row in rows], axis=0)
        for name, rows in zip(names, parts, strict=True)
    }
    found = infer(replace(results, values=values, binary=False))
    reached = found.difference[:, 0]
    order = np.argsort(-reached if results.higher else reached, kind="stable")
    best, worst = found.rows[order[0]], found.rows[order[-1]]
    difference, error = found.difference[order[0], order[-1]], found.error[order[0], order[-1]]
    return Spread(best[0], worst[0], float(abs(difference)), bool(abs(difference) > inference.critical * error))
