"""The default bench beside a plain scikit-learn loop over the same cells, also with the patch of scikit-learn-intelex.

LazyPredict on one split stands there for scale.
"""

import os
import statistics
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from perf.context import Context
from perf.measure import Contender, Runs, once, race
from perf.table import Goal, Row, row, value_row

if TYPE_CHECKING:
    from benchmarks.heads.base import HeadSpec

PLAIN, PATCHED = "plain scikit-learn loop", "plain loop, scikit-learn-intelex"
# Heads of libraries that the patch leaves as they are.
UNPATCHED = ("xgboost", "lightgbm")
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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    made = {
        "store": str(folder / "store"),
        "backbones": BACKBONES,
        "dim": dim,
        "divide": context.size(1, 4),
        "folds": FOLDS,
        "repeats": repeats,
        "backbone": "made_up_0",
        "sample": str(folder / "sample.npz"),
        "settings": str(folder / "settings.json"),
        # One split a core: the loop is then as busy as it would be over all of them.
        "cores": cores,
        "splits": cores,
    }
    rows = once("made.py:labelled", made)
    once("plain.py:sample", made)
    ours = race([Contender("ours", "ours.py:bench", made)], 1)["ours"]
    heads = [head for head in find([], protocol="cv") if not head.needs_text]
    plain, patched = _loops(context, heads, made)
    lazy = race([context.other("lazy", "lazypredict", "lazypredict", made)], 1)["lazy"]
    whole = repeats if context.quick else REPEATS
    splits = FOLDS * whole
    work = f"{len(heads)} heads × {BACKBONES} backbones × {splits} splits, {rows} × {dim:,}"
    cells = BACKBONES * splits
    loops = {PLAIN: plain, PATCHED: patched}
    return _rows(work, ours, loops, lazy, cells=cells, cores=cores, scale=whole / repeats)


def _loops(
    context: Context, heads: Sequence["HeadSpec"], made: dict[str, Any]
) -> tuple[dict[str, Runs], dict[str, Runs]]:
    """Each head of the plain loop, without the patch and with it; a vote takes the sum of its members."""
    plain: dict[str, Runs] = {}
    patched: dict[str, Runs] = {}
    for spec in heads:
        if spec.members:
            for timed in (plain, patched):
                timed[spec.name] = _sum([timed[name] for name in spec.members])
            continue
        options = made | {"head": spec.name}
        contenders = [Contender(PLAIN, "plain.py:head", options)]
        if spec.name not in UNPATCHED:
            python = context.rivals.interpreter("scikit-learn-intelex")
            contenders.append(Contender(PATCHED, "plain.py:head", options | {"patched": True}, python))
        runs = race(contenders, 1)
        plain[spec.name], patched[spec.name] = runs[PLAIN], runs.get(PATCHED, runs[PLAIN])
    return plain, patched


def _sum(members: Sequence[Runs]) -> Runs:
    error = next((one.error for one in members if one.error), "")
    return Runs([] if error else [sum(statistics.median(one.seconds) for one in members)], error=error)


def _loop(heads: dict[str, Runs], *, cells: int, cores: int) -> tuple[Runs, str]:
    """The seconds of a whole loop over ``cells``, and those of each head in words."""
    errors = dict.fromkeys(run.error for run in heads.values() if run.error)
    if errors:
        return Runs(error="; ".join(errors)), ""
    scaled = {name: statistics.median(run.seconds) * cells / cores for name, run in heads.items()}
    slowest = ", ".join(f"{name} {s:,.0f} s" for name, s in sorted(scaled.items(), key=lambda item: -item[1]))
    return Runs([sum(scaled.values())]), slowest


def _rows(
    work: str, ours: Runs, loops: dict[str, dict[str, Runs]], lazy: Runs, *, cells: int, cores: int, scale: float
) -> list[Row]:
    part = f"ours timed on {1 / scale:.0%} of the splits and scaled up; " if scale > 1 else ""
    told = f"{part}the loop timed on {cores} splits of one backbone and scaled by {cells / cores:g}"
    # The cells alone are what the loop does too; measuring costs and writing the report comes once behind them.
    cells_alone = replace(ours, seconds=[ours.answer["run_seconds"]]) if ours.seconds else ours
    rows = []
    for name, heads in loops.items():
        loop, slowest = _loop(heads, cells=cells, cores=cores)
        goal = Goal(1 / 5) if name == PLAIN else None
        note = f"{told}; {slowest}" if slowest else told
        rows.append(
            row("bench", work, ours=cells_alone, other=name, theirs=loop, goal=goal, scale=(scale, 1.0), note=note)
        )
    rows.append(
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
        )
    )
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
