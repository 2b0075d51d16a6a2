"""Rows of the table: what was tried, how often, what came of it; printed and kept as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One kind of fault done to one job.

    Parameters
    ----------
    tried
        In words.
    count
        How often it happened; 0 when it could not be tried, and `note` says why.
    faults
        What went wrong, a sentence each.
    misses
        What is not as it should be by design, a sentence each: told, but no reason to stop.
    """

    job: str
    tried: str
    count: int
    faults: list[str]
    seconds: float
    note: str = ""
    misses: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """``PASS``, ``FAIL``, ``MISS`` (a promise that is known not to be kept) or ``skipped``."""
        return "FAIL" if self.faults else "MISS" if self.misses else "PASS" if self.count else "skipped"


def table(rows: Sequence[Row], *, head: bool = True) -> str:
    """The rows for a terminal; below them each fault, equal ones once."""
    cells = [("job", "what was tried", "count", "outcome", "seconds", "")]
    cells += [(r.job, r.tried, f"{r.count:,}", r.outcome, f"{r.seconds:.1f}", r.note) for r in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(5)]
    lines = []
    for number, line in enumerate(cells):
        text = "  ".join(
            c.rjust(w) if i in (2, 4) else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=False))
        )
        lines.append(f"{text}  {line[5]}".rstrip())
        if number == 0:
            if not head:
                lines.clear()
                continue
            lines.append("-" * (sum(widths) + 8))
    for row in rows:
        for sentence in list(dict.fromkeys(row.faults))[:10]:
            lines.append(f"FAIL {row.job}, {row.tried}: {' '.join(sentence.split())[:600]}")
        lines += [f"MISS {row.job}: {sentence}" for sentence in dict.fromkeys(row.misses)]
    return "\n".join(lines)


def render(rows: Sequence[Row], about: dict[str, Any]) -> str:
    """The whole table with what it was run on."""
    counts = {word: sum(row.outcome == word for row in rows) for word in ("PASS", "FAIL", "MISS", "skipped")}
    return "\n".join(
        [
            f"{about['at']}, commit {about['commit']}, {about['machine']}",
            ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
            "",
            table(rows),
            "",
            f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['MISS']} missed, {counts['skipped']} skipped",
        ]
    )


def save(rows: Sequence[Row], about: dict[str, Any], path: Path) -> None:
    """Keep rows and machine as JSON."""
    record = {"about": about, "rows": [asdict(row) | {"outcome": row.outcome} for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
