"""What a run of the protocol `across` found, as notes, text and figures; `results.across` comes as plain data."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.results.across import CORRECTED

NAMES = {
    "accuracy": "accuracy",
    "log_loss": "log loss",
    CORRECTED: "log loss, corrected",
    "map": "mAP",
    "f1_micro": "micro-F1",
}
# Metrics of which less is better.
LOSSES = ("log_loss", CORRECTED)
# Of so many classes the share of each is shown; of more, how far the frequencies of two sides are apart.
FEW = 4
APART = "apart: the share of rows whose class would have to change for the frequencies to be those of the value"
KNOWN = (
    "Corrected: the class frequencies of the test rows are taken as known, so that what differs is due to the images, "
    "not to how frequent the classes are."
)
NONE = "–"
# Characters that a value of the column may take.
_LONGEST = 14


def notes(found: dict[str, Any]) -> list[str]:
    """What a reader must know: what is left out, what failed, and what the comparison is about."""
    by, n = found["by"], len(found["domains"])
    lines = list(found["left_out"])
    dropped = sum(one["dropped"] for one in found["rows"][0]["others"]) if found["rows"] else 0
    if dropped:
        lines.append(f"{dropped:,} training rows are left out: an image equal to one of theirs is tested")
    lines.append(
        f"each row is tested once, by heads that learned from the other values of {by}; scores are means over the {n} "
        f"values, intervals of an accuracy pool all rows; what is said of two heads is about rows of these {n} values, "
        f"not about other values of {by}"
    )
    lines += [
        f"{row['head']} over {row['backbone']} failed in {row['failed']} fits: {row['failure']}"
        for row in found["rows"]
        if row["failed"]
    ]
    return lines


def text(found: dict[str, Any], *, width: int | None = None) -> list[str]:
    """Blocks of lines: the class frequencies, and the scores of the first row that learns, a matrix for each metric.

    Parameters
    ----------
    width
        Columns of text of the terminal; a matrix that is wider comes in parts.
    """
    row = _shown(found)
    if row is None:
        return []
    more = " (of other rows: --format json)" if len(found["rows"]) > 1 else ""
    blocks = [[f"by {found['by']}: {row['head']} over {row['backbone']}{more}", *_sentences(found, row)]]
    blocks[0] = [line for sentence in blocks[0] for line in _folded(sentence, width)]
    blocks.append([*_frequencies(found, row), *(_folded(APART, width) if len(found["classes"]) > FEW else [])])
    for metric in row["matrix"]:
        heading = f"{NAMES[metric]}, learned from (row), tested on (column); diagonal: held out"
        below = _folded(KNOWN, width) if metric == CORRECTED else []
        blocks.append([*_folded(heading, width), *_matrix(found, row, metric, width), *below])
    return ["\n".join(lines) for lines in blocks]


def figures(found: dict[str, Any], *, draw: Callable[..., str], most: int = 3) -> list[dict[str, Any]]:
    """A figure for each of the first rows that learn: a matrix for each metric, drawn by ``draw``, `charts.matrix`."""
    shown = []
    for row in [row for row in found["rows"] if row["head"] != "majority"][:most]:
        panels = []
        for metric in row["matrix"]:
            lines = _lines(found, row, metric)
            panels.append(
                draw(
                    np.array([[np.nan if score is None else score for score in line] for _, line in lines], float),
                    rows=[name for name, _ in lines],
                    columns=[_short(name) for name in found["domains"]],
                    title=NAMES[metric],
                    form=".2f",
                    row_axis=f"learned from ({found['by']})",
                    column_axis=f"tested on ({found['by']})",
                    high_is_good=metric not in LOSSES,
                )
            )
        title = f"By {found['by']}: {row['head']} over {row['backbone']}"
        caption = " ".join([*_sentences(found, row), *([KNOWN] if CORRECTED in row["matrix"] else [])])
        shown.append({"title": title, "caption": caption, "panels": panels})
    return shown


def _shown(found: dict[str, Any]) -> dict[str, Any] | None:
    return next((row for row in found["rows"] if row["head"] != "majority"), next(iter(found["rows"]), None))


def _frequencies(found: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """The rows and class frequencies of each value, and of what is learned from where it is tested."""
    few = len(found["classes"]) <= FEW
    named = f" (%: {' / '.join(_short(name) for name in found['classes'])})" if few else ""
    sides = {kind: {one["domain"]: one for one in row[kind]} for kind in ("others", "earlier") if row[kind]}
    lines = [[found["by"], "rows", *(["%"] if few else [])]]
    lines[0] += [text for kind in sides for text in (f"all {kind}", "%" if few else "apart")]
    for place, name in enumerate(found["domains"]):
        own = [count / found["n_rows"][place] for count in found["class_counts"][place]]
        line = [_short(name), f"{found['n_rows'][place]:,}", *([_rates(own)] if few else [])]
        for side in sides.values():
            one = side.get(name)
            if one is None:
                line += [NONE, NONE]
            else:
                rates = one["train_rates"]
                line += [f"{one['n_train']:,}", _rates(rates) if few else f"{_apart(own, rates):.2f}"]
        lines.append(line)
    return [f"rows and class frequencies{named}", *_aligned(lines)]


def _lines(found: dict[str, Any], row: dict[str, Any], metric: str) -> list[tuple[str, list[float | None]]]:
    """What is learned from, and the score on each value: each value alone, all others, all earlier ones."""
    lines = [(_short(name), list(row["matrix"][metric][place])) for place, name in enumerate(found["domains"])]
    for kind in ("others", "earlier"):
        if row[kind]:
            scores = {one["domain"]: one["scores"].get(metric) for one in row[kind]}
            lines.append((f"all {kind}", [scores.get(name) for name in found["domains"]]))
    return lines


def _matrix(found: dict[str, Any], row: dict[str, Any], metric: str, width: int | None) -> list[str]:
    """The scores, with what the class frequencies alone give, in as many parts as the width asks for."""
    lines = _lines(found, row, metric)
    rates = [np.array(own) / n for own, n in zip(found["class_counts"], found["n_rows"], strict=True)]
    if metric == "accuracy":
        lines.append(("most frequent", [float(one.max()) for one in rates]))
    elif metric in LOSSES:
        lines.append(("frequencies", [_entropy(one) for one in rates]))
    first = ["", *(name for name, _ in lines)]
    columns = [
        [_short(name), *(NONE if line[place] is None else f"{line[place]:.2f}" for _, line in lines)]
        for place, name in enumerate(found["domains"])
    ]
    printed: list[str] = []
    while columns:
        part = [first, columns.pop(0)]
        while columns and (not width or len(_aligned(_turned([*part, columns[0]]))[0]) <= width):
            part.append(columns.pop(0))
        printed += _aligned(_turned(part))
    return printed


def _sentences(found: dict[str, Any], row: dict[str, Any]) -> list[str]:
    """What the matrices say together, and how sure one figure of them is."""
    means: dict[str, tuple[float, float]] = {}
    for metric, scores in row["matrix"].items():
        values = np.array([[np.nan if score is None else score for score in line] for line in scores], float)
        own = np.eye(len(values), dtype=bool)
        if np.isfinite(values).all():
            means[metric] = float(values[own].mean()), float(values[~own].mean())
    lines = []
    if means:
        told = "; ".join(
            f"{NAMES[metric]} {within:.3f} and {beyond:.3f}"
            for metric, (within, beyond) in means.items()
            if metric != CORRECTED
        )
        lines.append(
            f"Learned from one value of {found['by']}, tested on the same (held out) and on another, means over the "
            f"matrix: {told}."
        )
    if CORRECTED in means:
        lost = means["log_loss"][1] - means[CORRECTED][1]
        lines.append(f"Of the second log loss {lost:.3f} is due to other class frequencies.")
    if "accuracy" in row["matrix"]:
        smallest = min(found["n_rows"])
        half = 1.96 * 0.5 / smallest**0.5
        lines.append(f"One accuracy over {smallest:,} rows, the fewest, is known to about ± {half:.2f} (95 %).")
    return lines


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _rates(rates: Sequence[float]) -> str:
    return "/".join(f"{100 * rate:.0f}" for rate in rates)


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    """The total variation distance."""
    return float(np.abs(np.array(one) - np.array(other)).sum() / 2)


def _entropy(rates: Sequence[float]) -> float:
    held = np.array([rate for rate in rates if rate > 0])
    return float(-(held * np.log(held)).sum())


def _folded(sentence: str, width: int | None) -> list[str]:
    return textwrap.wrap(sentence, width, subsequent_indent="  ", break_on_hyphens=False) if width else [sentence]


def _turned(columns: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(line) for line in zip(*columns, strict=True)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two blanks apart: the first flush left, the others flush right."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        rest = (text.rjust(width) for text, width in zip(others, wide[1:], strict=True))
        lines.append("  ".join([first.ljust(wide[0]), *rest]).rstrip())
    return lines
