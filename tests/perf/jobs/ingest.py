"""Making a store from a table and a folder, beside pandas doing the study's steps."""

import shutil

from perf.context import Context
from perf.measure import Contender, Runs, once, race
from perf.table import Goal, Row, row


def run(context: Context) -> list[Row]:
    """The first time, when every file is decoded to find broken ones, and again, when nothing has changed."""
    movies, count = context.size(40_108, 2_000), context.size(22_000, 500)
    metadata, table = context.metadata(movies)
    posters, what = context.posters(context.size(1_000, 40))
    folder = context.folder("ingest")
    images = folder / "images"
    once("made.py:posters_by_id", {"folder": images, "metadata": metadata, "posters": posters, "count": count})
    options = {"metadata": metadata, "images": str(images), "out": str(folder / "labeled.csv"), "folder": str(images)}
    runs = race(
        [
            Contender("first", "ours.py:ingest", options | {"store": str(folder / "first")}),
            Contender("again", "ours.py:ingest", options | {"store": str(folder / "again"), "again": True}),  # type: ignore[dict-item]
            Contender("pandas", "study.py:ingest", options),
            Contender("decoding", "limits.py:decoding", options),
        ],
        context.size(3, 1),
    )
    shutil.rmtree(folder)
    work = f"{movies:,} rows, {count:,} files"
    counts = [runs[name].answer for name in ("first", "pandas")]
    told = f"{table}; {what}; movies, joined, labelled: ours {counts[0]}, pandas {counts[1]}"
    more = "the study's steps open no image; ours reads, hashes and decodes each, to quarantine the broken ones"
    beside = (
        ("first", "pandas, the study's steps", runs["pandas"], told),
        ("first", "pandas + decoding each file", _both(runs["pandas"], runs["decoding"]), more),
        ("again", "pandas, the study's steps", runs["pandas"], "the store is there and nothing has changed"),
    )
    return [
        row("ingest", f"{work}, {when}", ours=runs[when], other=other, theirs=theirs, goal=Goal(1.5), note=note)
        for when, other, theirs, note in beside
    ]


def _both(one: Runs, two: Runs) -> Runs:
    """One after the other."""
    return Runs([a + b for a, b in zip(one.seconds, two.seconds, strict=True)], error=one.error or two.error)
