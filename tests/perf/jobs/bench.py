"""The default bench beside a plain scikit-learn loop over the same cells, and LazyPredict on one split for scale."""

import os
import statistics
from dataclasses import replace

from perf.context import Context
from perf.measure import Contender, Runs, once, race
from perf.table import Goal, Row, row, value_row

BACKBONES = 3
FOLDS = 5
REPEATS = 10
# Repeats that are run unless all are asked for; the seconds are scaled up, those of the start too.
PART = 2


def run(context: Context) -> list[Row]:
    """12 heads × 3 backbones × 50 splits at 2048 dimensions; the loop is timed on some splits of one backbone."""
    from benchmarks.heads.registry import find

    repeats, dim = context.share(REPEATS, PART, 1), context.size(2048, 64)
    folder = context.folder("bench")
    made = {
        "store": str(folder / "store"),
        "backbones": BACKBONES,
        "dim": dim,
        "divide": context.size(1, 4),
        "folds": FOLDS,
        "repeats": repeats,
        "backbone": "made_up_0",
        "split": str(folder / "split.npz"),
    }
    rows = once("made.py:labelled", made)
    once("plain.py:first_split", made)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ours = race([Contender("ours", "ours.py:bench", made)], 1)["ours"]
    heads = [spec.name for spec in find([], protocol="cv")]
    # One split a core: the loop is then as busy as it would be over all of them.
    plain = {
        name: race([Contender(name, "plain.py:head", made | {"head": name, "cores": cores, "sample": cores})], 1)[name]
        for name in heads
    }
    lazy = race([context.other("lazy", "lazypredict", "lazypredict", made)], 1)["lazy"]
    whole = repeats if context.quick else REPEATS
    splits = FOLDS * whole
    work = f"{len(heads)} heads × {BACKBONES} backbones × {splits} splits, {rows} × {dim:,}"
    return _rows(work, ours, plain, lazy, cells=BACKBONES * splits, cores=cores, scale=whole / repeats)


def _rows(
    work: str, ours: Runs, plain: dict[str, Runs], lazy: Runs, *, cells: int, cores: int, scale: float
) -> list[Row]:
    scaled = {name: statistics.median(r.seconds) * cells / cores for name, r in plain.items() if r.seconds}
    failed = {name: r.error for name, r in plain.items() if r.error}
    loop = Runs([sum(scaled.values())], error=f"no time for {failed}" if failed else "")
    slowest = ", ".join(f"{n} {s:,.0f} s" for n, s in sorted(scaled.items(), key=lambda item: -item[1]))
    part = f"ours timed on {1 / scale:.0%} of the splits and scaled up; " if scale > 1 else ""
    told = f"{part}the loop timed on {cores} splits of one backbone and scaled by {cells / cores:g}; {slowest}"
    # The cells alone are what the loop does too; measuring costs and writing the report comes once behind them.
    cells_alone = replace(ours, seconds=[ours.answer["run_seconds"]]) if ours.seconds else ours
    rows = [
        row(
            "bench",
            work,
            ours=cells_alone,
            other="plain scikit-learn loop",
            theirs=loop,
            goal=Goal(1 / 5),
            scale=(scale, 1.0),
            note=told,
        ),
        row(
            "bench",
            work,
            ours=cells_alone,
            other="LazyPredict, one split",
            theirs=lazy,
            goal=None,
            kind="scale",
            scale=(scale, 1.0),
            note=f"{lazy.answer['models']} models, one split; ours {cells} splits" if lazy.answer else "",
        ),
    ]
    if ours.seconds:
        took = ours.answer
        behind = ours.seconds[0] - took["run_seconds"]
        busy = took["busy_seconds"] / cores
        overhead = 1 - busy / took["run_seconds"]
        rows += [
            value_row(
                "bench",
                f"{work}, the whole command",
                value=took["run_seconds"] * scale + behind,
                other="ten minutes",
                goal=Goal(600.0, "s in all"),
                note=f"of these {behind:.0f} s for starting, measuring the cost of each head by itself, and the report",
            ),
            value_row(
                "bench",
                f"{work}, runner's own",
                value=overhead,
                other="fits and predictions",
                goal=Goal(0.05, "of it"),
                note=f"{took['computed']} cells, {took['failed']} failed, {took['run_seconds']:.1f} s; {cores} workers "
                f"were busy for {busy:.1f} s; what is left holds starting them, metrics and storing",
            ),
        ]
    return rows
