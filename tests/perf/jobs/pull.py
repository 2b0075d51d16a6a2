"""Pulling a matrix out of a store, beside reading a file of the same bytes and beside other stores."""

from pathlib import Path

from perf.context import Context
from perf.measure import Contender, Failed, once, race
from perf.table import Goal, Row, row, value_row

DIM = 2048


def run(context: Context) -> list[Row]:
    """Cold with and without the page cache, warm, and the memory that it takes."""
    count = context.size(100_000, 2_000)
    paths = context.vectors(count, DIM)
    folder = Path(paths["matrix"]).parent
    options = paths | {name: str(folder / name) for name in ("lance", "hf", "duckdb")}
    others = _others(context, options)
    work = f"{count:,} × {DIM:,}"
    ours = Contender("ours", "ours.py:pull", options, fresh=True, evict=(Path(paths["store"]),))
    limit = Contender("np.load", "limits.py:np_load", options, fresh=True, evict=(Path(paths["matrix"]),))
    rows = _rows(f"{work}, new process, disk", race([ours, limit], context.repeats), [])
    cached = [
        Contender("ours", "ours.py:pull", options, fresh=True),
        Contender("np.load", "limits.py:np_load", options, fresh=True),
        *others,
    ]
    runs = race(cached, context.repeats)
    rows += _rows(f"{work}, new process", runs, [contender.name for contender in others])
    if runs["ours"].memory_mb:
        grown = sorted(runs["ours"].memory_mb)[len(runs["ours"].memory_mb) // 2] * 1e6 / (count * DIM * 4)
        rows.append(value_row("pull", f"{work}, memory", value=grown, other="the matrix", goal=Goal(1.1)))
    warm = race(
        [
            Contender("ours", "ours.py:pull_again", options),
            Contender("copy", "limits.py:mapped_copy", options),
        ],
        context.repeats,
    )
    rows.append(
        row(
            "pull",
            f"{work}, warm",
            ours=warm["ours"],
            other="memory map, copied out",
            theirs=warm["copy"],
            goal=Goal(1.5),
            kind="limit",
            note=_differ(warm["ours"].answer, warm["copy"].answer),
        )
    )
    return rows


def _others(context: Context, options: dict[str, str]) -> list[Contender]:
    """The rivals, with their own copies of the vectors."""
    found = []
    for name, rival, build, pull in (
        ("LanceDB", "lancedb", "lance_build", "lance_pull"),
        ("Hugging Face datasets", "datasets", "hf_build", "hf_pull"),
        ("DuckDB", "duckdb", "duckdb_build", "duckdb_pull"),
    ):
        try:
            once(f"others.py:{build}", options, python=context.rivals.interpreter(rival))
        except Failed as error:
            print(f"{name}: {error}", flush=True)
        found.append(context.other(name, rival, pull, options, fresh=True))
    return found


def _rows(work: str, runs: dict, others: list[str]) -> list[Row]:
    ours = runs["ours"]
    rows = [
        row(
            "pull",
            work,
            ours=ours,
            other="np.load",
            theirs=runs["np.load"],
            goal=Goal(2.0),
            kind="limit",
            note=_differ(ours.answer, runs["np.load"].answer),
        )
    ]
    rows += [
        row(
            "pull",
            work,
            ours=ours,
            other=name,
            theirs=runs[name],
            goal=Goal(1 / 3),
            note="" if runs[name].error else _differ(ours.answer, runs[name].answer),
        )
        for name in others
    ]
    return rows


def _differ(ours: object, theirs: object) -> str:
    return "" if ours == theirs else f"NOT THE SAME ANSWER: {ours} and {theirs}"
