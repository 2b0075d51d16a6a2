"""Making a store of a folder of class folders, beside the least that reading and listing its files can cost."""

import shutil
import statistics

from perf.context import Context
from perf.measure import Contender, once, race
from perf.table import Goal, Row, row, value_row

MEMORY_MB = 500.0


def run(context: Context) -> list[Row]:
    """The first time, when every file is read, and again, when nothing has changed; then the memory of the first."""
    count = context.size(100_000, 400)
    posters, what = context.posters(context.size(300, 20))
    folder = context.folder("collection")
    images = folder / "images"
    once("made.py:class_folders", {"folder": images, "posters": posters, "count": count})
    options = {"folder": str(images)}
    again = options | {"store": str(folder / "again"), "again": True}
    runs = race(
        [
            Contender("first", "ours.py:ingest_folders", options | {"store": str(folder / "first")}, fresh=True),
            Contender("checking", "limits.py:checking", options),
            Contender("again", "ours.py:ingest_folders", again),
            Contender("walking", "limits.py:walking", options),
        ],
        context.size(3, 1),
    )
    shutil.rmtree(folder)
    work = f"{count:,} posters of 182 × 268 in nested folders"
    note = f"{what}; found, labelled, labels: {runs['first'].answer}"
    rows = [
        row(
            "collection",
            f"{work}, {when}",
            ours=runs[when],
            other=other,
            theirs=runs[theirs],
            goal=Goal(most),
            kind="limit",
            note=said,
        )
        for when, other, theirs, most, said in (
            ("first", "reading, hashing, decoding each", "checking", 1.4, note),
            ("again", "listing with sizes and times", "walking", 4.0, "nothing has changed"),
        )
    ]
    if runs["first"].peak_mb:
        peak = statistics.median(runs["first"].peak_mb)
        goal = Goal(MEMORY_MB, "MB in all")
        rows.append(value_row("collection", f"{work}, memory", value=peak, other="the whole process", goal=goal))
    return rows
