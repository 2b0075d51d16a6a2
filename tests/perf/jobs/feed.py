"""Feeding a network: images become its input and vectors are stored, with a network that costs nothing."""

import os
import shutil
from typing import Any

from perf.context import Context
from perf.measure import Contender, Runs, once, race
from perf.table import Goal, Row, row

POSTERS, PHOTOGRAPHS = 811, 60
# On the machine of two cores that the goals were set on; a ratio of the same run cannot say it.
POSTERS_A_SECOND, PHOTOGRAPHS_A_SECOND_A_CORE = 900, 35


def run(context: Context) -> list[Row]:
    """Posters, and photographs of 12 megapixels with each way of decoding."""
    return [*_posters(context), *_photographs(context)]


def descriptors(context: Context) -> list[Row]:
    """The backbone `descriptors`, on decoded posters, beside its first version."""
    posters, what = context.posters(context.size(300, 10))
    options = {"posters": posters}
    runs = race(
        [
            Contender("ours", "descriptors_1.py:race", options | {"ours": True}),
            Contender("before", "descriptors_1.py:race", options | {"ours": False}),
        ],
        context.repeats,
    )
    work = f"descriptors of {len(posters):,} {what}"
    goal = Goal(1 / 1.9)
    return [row("embed", work, ours=runs["ours"], other="descriptors-1", theirs=runs["before"], goal=goal)]


def _posters(context: Context) -> list[Row]:
    posters, what = context.posters(context.size(POSTERS, 40))
    folder = context.folder("feed")
    images, store = folder / "images", folder / "store"
    images.mkdir()
    for number, poster in enumerate(posters, start=1):
        shutil.copyfile(poster, images / f"{number}.jpg")
    once("made.py:ingested", {"store": store, "folder": images})
    runs = race(
        [
            Contender("ours", "ours.py:feed", {"store": store, "decode": "full"}),
            Contender("limit", "limits.py:feeding", {"folder": images, "draft": False}),
        ],
        context.repeats,
    )
    count = _computed(runs["ours"])
    return [
        row(
            "feed",
            f"instant network, {len(posters):,} {what}",
            ours=runs["ours"],
            other="read, decode and resize alone",
            theirs=runs["limit"],
            goal=None,
            kind="limit",
            note=f"{_rate(count, runs['ours'])} posters/s, goal {POSTERS_A_SECOND} on two cores; {os.cpu_count()} here",
        )
    ]


def _photographs(context: Context) -> list[Row]:
    folder = context.folder("photographs")
    images, store = folder / "images", folder / "store"
    once("made.py:photographs", {"folder": images, "count": context.size(PHOTOGRAPHS, 3)})
    once("made.py:ingested", {"store": store, "folder": images})
    runs = race(
        [
            Contender("draft", "ours.py:feed", {"store": store, "decode": "draft"}),
            Contender("full", "ours.py:feed", {"store": store, "decode": "full"}),
            Contender("limit", "limits.py:feeding", {"folder": images, "draft": False}),
            Contender("draft limit", "limits.py:feeding", {"folder": images, "draft": True}),
        ],
        min(context.repeats, 3),
    )
    count, cores = _computed(runs["draft"]), os.cpu_count() or 1
    work = f"instant network, {count} SYNTHETIC photographs of 12 megapixels"
    told = f"{_rate(count, runs['draft'])} a second on {cores} cores, goal {PHOTOGRAPHS_A_SECOND_A_CORE} a core"
    possible = f"{_rate(count, runs['draft limit'])} a second are possible"
    alone = "read, decode and resize alone"

    def beside(decode: str, other: str, theirs: str, **more: Any) -> Row:
        ours = runs[decode]
        return row("feed", f"{work}, {decode}", ours=ours, other=other, theirs=runs[theirs], goal=None, **more)

    return [
        beside("draft", "decoded whole", "full", note=told),
        beside("draft", f"{alone}, draft", "draft limit", kind="limit", note=possible),
        beside("full", alone, "limit", kind="limit"),
    ]


def _computed(runs: Runs) -> int:
    return runs.answer["images"] if runs.answer else 0


def _rate(count: int, runs: Runs) -> str:
    seconds = sorted(runs.seconds)
    return f"{count / seconds[len(seconds) // 2]:,.0f}" if seconds else "no"
