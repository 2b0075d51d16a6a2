"""Rows of the table: what was measured beside its goal, printed, kept as JSON, compared; it measures nothing."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from perf.measure import Runs, quartiles

# Kinds of others: a rival does the same work; a limit is what the machine can do at best.
KINDS = ("rival", "limit", "scale")


@dataclass(frozen=True)
class Goal:
    """At most ``most``: of the others' seconds (``×``), seconds beyond theirs (``s over``), or in another unit."""

    most: float
    unit: str = "×"

    def __str__(self) -> str:
        if self.unit != "×":
            return f"≤ {self.most:g} {self.unit}"
        return f"≤ {self.most:.2f} ×"


@dataclass
class Row:
    """This project beside one other on the same work, in the same run.

    Parameters
    ----------
    ours, theirs
        Seconds of each round, for the whole work.
    ratio
        Lower quartile, median and upper quartile of ours ÷ theirs, round by round; with a goal in seconds of the
        difference.
    note
        What a reader must know: the amount of work, what was scaled up, why it could not run.
    """

    job: str
    work: str
    other: str
    kind: str
    goal: Goal | None
    ours: list[float]
    theirs: list[float]
    ratio: tuple[float, float, float] | None
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``hit``, ``MISS``, or empty without a goal or a measurement."""
        if self.goal is None or self.ratio is None:
            return ""
        return "hit" if self.ratio[1] <= self.goal.most else "MISS"


def row(
    job: str,
    work: str,
    *,
    ours: Runs,
    other: str,
    theirs: Runs,
    goal: Goal | None,
    kind: str = "rival",
    scale: tuple[float, float] = (1.0, 1.0),
    note: str = "",
    facts: dict[str, Any] | None = None,
) -> Row:
    """A row of two contenders; ``scale`` is by how much more work the whole is than what each was timed on."""
    mine = [value * scale[0] for value in ours.seconds]
    others = [value * scale[1] for value in theirs.seconds]
    failed = ours.error or theirs.error
    if failed or not mine or not others:
        words = f"this project failed: {ours.error}" if ours.error else theirs.error or "not run"
        return Row(job, work, other, kind, goal, mine, others, None, "; ".join(filter(None, [words, note])))
    memory = {"memory_mb": ours.memory_mb, "their_memory_mb": theirs.memory_mb}
    return Row(job, work, other, kind, goal, mine, others, _ratio(mine, others, goal), note, memory | (facts or {}))


def value_row(job: str, work: str, *, value: float, other: str, goal: Goal | None, note: str = "") -> Row:
    """A row of a figure that is itself the ratio: memory beside the matrix, an exponent, a share."""
    return Row(job, work, other, "limit", goal, [], [], (value, value, value), note)


def _ratio(ours: list[float], theirs: list[float], goal: Goal | None) -> tuple[float, float, float]:
    # Round by round where both ran in it; what ran less often is held against its median.
    if len(ours) != len(theirs):
        middle = statistics.median(theirs) if len(theirs) < len(ours) else statistics.median(ours)
        longer = max(ours, theirs, key=len)
        ours, theirs = (longer, [middle] * len(longer)) if longer is ours else ([middle] * len(longer), longer)
    if goal is not None and goal.unit == "s over":
        return quartiles([a - b for a, b in zip(ours, theirs, strict=True)])
    return quartiles([a / b for a, b in zip(ours, theirs, strict=True)])


def render(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """The whole table for a terminal, with what it was measured on."""
    head = [
        f"{about['at']}, commit {about['commit']}, {about['machine']}",
        f"load at the start {about['load']}; {', '.join(f'{n} {v}' for n, v in about['versions'].items())}",
        "Seconds are medians; a ratio is the median of ours ÷ theirs, round by round, so below 1 is faster.",
        "",
    ]
    return "\n".join([*head, table(rows), "", _score(rows)])


def _score(rows: Sequence[Row]) -> str:
    hits, misses = (sum(r.verdict == word for r in rows) for word in ("hit", "MISS"))
    return f"{hits} goals hit, {misses} missed"


# What stands in the table, and which columns are figures.
COLUMNS = ("job", "beside", "ours", "theirs", "ratio", "quartiles", "goal", "")
RIGHT = (2, 3, 4, 5)


def _cells(r: Row) -> tuple[str, ...]:
    """What stands in each of `COLUMNS`."""
    return (
        f"{r.job}: {r.work}",
        f"{r.other}{' (limit)' if r.kind == 'limit' else ' (for scale)' if r.kind == 'scale' else ''}",
        _seconds(r.ours),
        _seconds(r.theirs),
        "" if r.ratio is None else f"{_short(r.ratio[1])} {r.goal.unit.split()[0] if r.goal else '×'}",
        "" if r.ratio is None or len(r.ours) < 2 else f"{_short(r.ratio[0])}-{_short(r.ratio[2])}",
        str(r.goal) if r.goal else "",
        r.verdict or ("not run" if r.ratio is None else ""),
    )


def markdown(path: Path) -> str:
    """A kept result as a table for a page; without the notes, which stand in the terminal's table."""
    kept = json.loads(path.read_text("utf-8"))
    rows = [_loaded(record) for record in kept["rows"]]
    lines = [COLUMNS, tuple("---:" if place in RIGHT else "---" for place in range(len(COLUMNS)))]
    lines += [_cells(r) for r in rows]
    told = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([*told, "", f"{_score(rows)}; {_who(kept['about'])}"])


def _loaded(record: dict[str, Any]) -> Row:
    fields = {name: value for name, value in record.items() if name != "verdict"}
    goal = fields["goal"] and Goal(**fields["goal"])
    return Row(**fields | {"goal": goal, "ratio": fields["ratio"] and tuple(fields["ratio"])})


def table(rows: Sequence[Row], *, head: bool = True) -> str:
    """The rows alone, without their heading where they are told one by one."""
    cells = [COLUMNS, *map(_cells, rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(8)]
    lines = []
    for number, line in enumerate(cells):
        text = "  ".join(
            c.rjust(w) if i in RIGHT else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        lines.append(text.rstrip())
        if number == 0:
            lines.append("-" * len(lines[0].ljust(sum(widths) + 14)))
        elif rows[number - 1].note:
            lines.append(f"    {rows[number - 1].note}")
    return "\n".join(lines if head else lines[2:])


def _seconds(values: Sequence[float]) -> str:
    return f"{_short(statistics.median(values))} s" if values else ""


def _short(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


def save(rows: Sequence[Row], about: dict[str, Any], path: Path) -> None:
    """Keep everything that was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = [asdict(r) | {"verdict": r.verdict} for r in rows]
    path.write_text(json.dumps({"about": about, "rows": records}, indent=1, ensure_ascii=False), "utf-8")


def compare(before: Path, after: Path) -> str:
    """Two results beside each other: our seconds and the ratio of each row that both have."""
    old, new = (json.loads(path.read_text("utf-8")) for path in (before, after))
    lines = [f"before {_who(old['about'])}", f"after  {_who(new['about'])}", ""]
    lines.append(
        f"{'job':<58}{'beside':<28}{'ours before':>12}{'after':>12}{'change':>9}{'ratio before':>14}{'after':>9}"
    )
    known = {(r["job"], r["work"], r["other"]): r for r in old["rows"]}
    for r in new["rows"]:
        was = known.get((r["job"], r["work"], r["other"]))
        if was is None or r["ratio"] is None or was["ratio"] is None:
            continue
        seconds = [statistics.median(one["ours"]) if one["ours"] else None for one in (was, r)]
        told = ["" if s is None else f"{_short(s)} s" for s in seconds]
        change = f"{seconds[1] / seconds[0]:.2f} ×" if seconds[0] and seconds[1] else ""
        ratios = [_short(one["ratio"][1]) for one in (was, r)]
        turned = "" if was["verdict"] == r["verdict"] else f"  {was['verdict']} -> {r['verdict']}"
        lines.append(
            f"{r['job'] + ': ' + r['work']:<58.57}{r['other']:<28.27}{told[0]:>12}{told[1]:>12}{change:>9}"
            f"{ratios[0]:>14}{ratios[1]:>9}{turned}"
        )
    return "\n".join(lines)


def _who(about: dict[str, Any]) -> str:
    return f"{about['at']}, commit {about['commit']}, {about['machine']}, load {about['load']}"
