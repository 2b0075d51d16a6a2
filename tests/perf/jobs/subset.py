"""Random rows out of a store by their ids, compared with a memory map indexed by row, and with Lance."""

from dataclasses import replace
from pathlib import Path

from perf.context import Context
from perf.measure import Contender, Failed, Runs, once, race
from perf.table import Goal, Row, row

DIM = 2048


def run(context: Context) -> list[Row]:
    """In a new process, files cached or not, and from a store that is open."""
    count, wanted = context.size(100_000, 2_000), context.size(1_000, 100)
    paths = context.vectors(count, DIM)
    folder = Path(paths["matrix"]).parent
    options = paths | {"lance": str(folder / "lance"), "ids": str(folder / "ids.npy")}
    once("made.py:random_ids", options | {"rows": count, "count": wanted})
    if not Path(options["lance"]).exists():
        try:
            once("others.py:lance_build", options, python=context.rivals.interpreter("lancedb"))
        except Failed as error:
            print(f"LanceDB: {error}", flush=True)
    work = f"{wanted:,} ids of {count:,} × {DIM:,}"
    fresh = [
        Contender("ours", "ours.py:subset", options, fresh=True, evict=(Path(options["store"]),)),
        Contender("memory map", "limits.py:mapped_rows", options, fresh=True, evict=(Path(options["matrix"]),)),
        context.other("Lance take", "lancedb", "lance_subset", options, fresh=True, evict=(Path(options["lance"]),)),
    ]
    cached = [replace(contender, evict=()) for contender in fresh]
    warm = [
        Contender("ours", "ours.py:subset_again", options),
        Contender("memory map", "limits.py:mapped_rows", options),
        context.other("Lance take", "lancedb", "lance_subset_again", options),
        context.other("Lance filter", "lancedb", "lance_subset_by_id", options),
    ]
    # A warm round takes milliseconds: many, because one that another process disturbs is no measure.
    return [
        *_rows(f"{work}, new process, files not cached", race(fresh, context.repeats)),
        *_rows(f"{work}, new process, files cached", race(cached, context.repeats)),
        *_rows(f"{work}, warm", race(warm, context.repeats * 6)),
    ]


def _rows(work: str, runs: dict[str, Runs]) -> list[Row]:
    ours = runs["ours"]
    return [
        row(
            "subset",
            work,
            ours=ours,
            other=name,
            theirs=theirs,
            goal=None if name == "memory map" else Goal(1.0),
            kind="limit" if name == "memory map" else "rival",
            note=""
            if theirs.error or theirs.answer == ours.answer
            else f"NOT THE SAME: {ours.answer}, {theirs.answer}",
        )
        for name, theirs in runs.items()
        if name != "ours"
    ]
