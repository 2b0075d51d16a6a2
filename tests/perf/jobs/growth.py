"""How cost grows with the number of rows: time should be linear, memory that of the matrix or flat."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from perf.context import Context
from perf.measure import Contender, Runs, once, quartiles, race
from perf.table import Goal, Row, value_row

# Short vectors: a million of them fit the memory of a laptop.
DIM = 256


def run(context: Context) -> list[Row]:
    """Pull and search to a million rows, ingest and embed to a hundred thousand files."""
    return _vectors(context) + _files(context)


def _vectors(context: Context) -> list[Row]:
    sizes = [1_000, 10_000, 100_000, 1_000_000][: 2 if context.quick else 4]
    pulls, searches = [], []
    for count in sizes:
        paths = context.queries(context.vectors(count, DIM), 1)
        runs = race(
            [Contender("pull", "ours.py:pull", paths, fresh=True), Contender("search", "ours.py:similar", paths)],
            context.size(3, 2),
        )
        pulls.append(runs["pull"])
        searches.append(runs["search"])
        shutil.rmtree(Path(paths["matrix"]).parent)
    bytes_mb = [count * DIM * 4 / 1e6 for count in sizes]
    last = f"{sizes[0]:,} to {sizes[-1]:,} × {DIM}"
    return [
        _time("pull", last, sizes, pulls),
        _memory("pull", sizes, pulls, "the matrix", bytes_mb, Goal(1.2)),
        _time("top 10, one query", last, sizes, searches),
        _memory("top 10, beyond the index", sizes, searches, "the matrix", bytes_mb, Goal(0.1)),
    ]


def _files(context: Context) -> list[Row]:
    sizes = [1_000, 10_000, 100_000][: 2 if context.quick else 3]
    found = []
    for count in sizes:
        folder = context.folder(f"files-{count}")
        paths = {"folder": str(folder / "images"), "store": str(folder / "store")}
        once("made.py:small_images", paths | {"count": count})
        once("made.py:ingested", paths)
        found.append(race([Contender("embed", "ours.py:embed_flat", paths)], 1)["embed"])
        shutil.rmtree(folder)
    work = f"{sizes[0]:,} to {sizes[-1]:,} files"
    first, last = _middle(found[0].memory_mb), _middle(found[-1].memory_mb)
    per_file = (last - first) * 1e6 / (sizes[-1] - sizes[0])
    return [
        _time("embed, flat colour", work, sizes, found),
        value_row(
            "growth",
            f"embed, flat colour: memory, {work}",
            value=last / max(first, 1.0),
            other="that of the fewest",
            goal=Goal(2.0),
            note=f"{_list(sizes, found, 'memory_mb', 'MB')}; {per_file:,.0f} bytes a file",
        ),
    ]


def _time(what: str, work: str, sizes: Sequence[int], runs: Sequence[Runs]) -> Row:
    """How much more the last step costs than ten times what the one before it did."""
    failed = next((r.error for r in runs if r.error), "")
    if failed:
        return Row("growth", f"{what}: time, {work}", "linear", "limit", Goal(1.2), [], [], None, failed)
    last, before = (_middle(r.seconds) for r in (runs[-1], runs[-2]))
    step = sizes[-1] / sizes[-2]
    exponent = math.log(last / before) / math.log(step)
    note = f"{_list(sizes, runs, 'seconds', 's')}; exponent of the last step {exponent:.2f}"
    return value_row(
        "growth", f"{what}: time, {work}", value=last / before / step, other="linear", goal=Goal(1.2), note=note
    )


def _memory(what: str, sizes: Sequence[int], runs: Sequence[Runs], other: str, units: list[float], goal: Goal) -> Row:
    value = _middle(runs[-1].memory_mb) / units[-1] if runs[-1].memory_mb else float("nan")
    note = _list(sizes, runs, "memory_mb", "MB")
    return value_row("growth", f"{what}: memory", value=value, other=other, goal=goal, note=note)


def _list(sizes: Sequence[int], runs: Sequence[Runs], field: str, unit: str) -> str:
    return ", ".join(f"{s:,}: {_middle(getattr(r, field)):.3g} {unit}" for s, r in zip(sizes, runs, strict=True))


def _middle(values: Sequence[float]) -> float:
    return quartiles(values)[1] if values else float("nan")
