"""Pulling a matrix out of a store, beside reading a file of the same bytes and beside other stores."""

from dataclasses import replace
from pathlib import Path

from perf.context import Context
from perf.measure import Contender, Failed, once, quartiles, race
from perf.table import Goal, Row, row, value_row

DIM = 2048


def run(context: Context) -> list[Row]:
    """Cold with and without the page cache, warm, and the memory that it takes."""
    count = context.size(100_000, 2_000)
    paths = context.vectors(count, DIM)
    folder = Path(paths["matrix"]).parent
    options = paths | {name: str(folder / name) for name in ("lance", "hf", "duckdb", "pandas")}
    matrix_mb = count * DIM * 4 / 1e6
    contenders = [
        _fresh("ours", "ours.py:pull", options, "store", matrix_mb),
        _fresh("np.load", "limits.py:np_load", options, "matrix", matrix_mb),
        *_others(context, options, matrix_mb),
    ]
    rivals = [contender.name for contender in contenders[2:]]
    work = f"{count:,} × {DIM:,}"
    disk = race(contenders, context.repeats)
    cached = [replace(contender, evict=()) for contender in contenders]
    runs = race(cached, context.repeats)
    rows = _rows(f"{work}, new process, files not cached", disk, rivals)
    rows += _rows(f"{work}, new process, files cached", runs, rivals)
    if runs["ours"].memory_mb:
        grown = quartiles(runs["ours"].memory_mb)[1] / matrix_mb
        rows.append(value_row("pull", f"{work}, memory", value=grown, other="the matrix", goal=Goal(1.3)))
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


def _fresh(name: str, function: str, options: dict[str, str], files: str, matrix_mb: float) -> Contender:
    """A new process each time, what it reads dropped from the page cache."""
    return Contender(name, function, options, fresh=True, evict=(Path(options[files]),), touch_mb=round(matrix_mb))


def _others(context: Context, options: dict[str, str], matrix_mb: float) -> list[Contender]:
    """The rivals, with their own copies of the vectors."""
    found = []
    for name, rival, file, kind in (
        ("LanceDB", "lancedb", "others.py", "lance"),
        ("Hugging Face datasets", "datasets", "others.py", "hf"),
        ("DuckDB", "duckdb", "others.py", "duckdb"),
        ("pandas, read and merge", "pandas", "everyday.py", "pandas"),
    ):
        try:
            once(f"{file}:{kind}_build", options, python=context.rivals.interpreter(rival))
        except Failed as error:
            print(f"{name}: {error}", flush=True)
        more = {"fresh": True, "evict": (Path(options[kind]),), "touch_mb": round(matrix_mb)}
        repeats = 2 if kind in ("duckdb", "pandas") else None
        found.append(context.other(name, rival, f"{file}:{kind}_pull", options, **more, repeats=repeats))
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
