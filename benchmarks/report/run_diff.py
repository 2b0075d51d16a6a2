"""The difference between two runs as text; every figure comes ready from `results.diff`."""

import json
from dataclasses import asdict
from typing import Any

from benchmarks.report.columns import spelled
from benchmarks.report.formats import lined_up, value
from benchmarks.report.json_ready import json_ready
from benchmarks.results.diff import Changed, ImagesChanged, RunDifference
from benchmarks.results.paired import RowDifference

# A longer value of a setting is cut here; --json has all of it.
LONGEST = 60


def as_json(found: RunDifference) -> str:
    """One JSON object."""
    return json.dumps(json_ready(asdict(found)), default=str, allow_nan=False)


def lines(found: RunDifference) -> list[str]:
    """The difference for a person: what was compared, what changed, then the rows."""
    told = [
        f"A  {found.a}",
        f"B  {found.b}",
        f"images     {_images(found.images)}",
        *_changes("backbones", found.backbones, "the same revisions"),
        *_changes("settings", found.settings, "the same"),
        f"cells      {found.cells[0]} in A, {found.cells[1]} in B; {found.same_cells} results are in both",
    ]
    return [*told, "", *_rows(found)]


def _images(found: ImagesChanged) -> str:
    counts = f"{found.a:,} in both" if found.a == found.b else f"{found.a:,} in A, {found.b:,} in B"
    if found.added is None:
        return f"{counts}; which ones is not known until both runs have tested each of theirs"
    if found.same:
        return f"{counts}, with the same labels"
    parts = [(found.added, "only in B"), (found.removed, "only in A"), (found.relabelled, "with another label")]
    return f"{counts}; {', '.join(f'{count:,} {what}' for count, what in parts if count)}"


def _changes(title: str, changes: list[Changed], none: str) -> list[str]:
    if not changes:
        return [f"{title:<10} {none}"]
    texts = [f"{one.what}: {_short(one.a)} → {_short(one.b)}" for one in changes]
    return [f"{title if not number else '':<10} {text}" for number, text in enumerate(texts)]


def _short(value: Any) -> str:
    if value is None:
        return "none"
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _rows(found: RunDifference) -> list[str]:
    if not found.rows:
        return ["no row has a result yet"]
    metric = spelled(found.metric)
    curve = any(row.size != 1.0 for row in found.rows)
    headings = ("backbone", "head", "share", f"{metric} A", f"{metric} B", "B − A", "p (Holm)", "images", "")
    table = [headings, *(_row(row, curve=curve) for row in found.rows)]
    below = []
    if any(row.splits for row in found.rows):
        below.append("B − A, p: over the splits that both runs have, the same images on each side")
    if any(row.difference is not None and not row.splits for row in found.rows):
        below.append("B − A of rows without a split in common: of the two means, not tested, since the folds differ")
    return [*lined_up(table, gap=2), *below]


def _row(row: RowDifference, *, curve: bool) -> tuple[str, ...]:
    return (
        row.backbone,
        row.head,
        f"{row.size:.0%}" if curve else "",
        "" if row.a is None else f"{row.a:.3f}",
        "" if row.b is None else f"{row.b:.3f}",
        "" if row.difference is None else f"{row.difference:+z.3f}",
        value({"p": row.p_holm}, "p", "p"),
        f"{row.images:,}" if row.images else "",
        row.verdict,
    )
