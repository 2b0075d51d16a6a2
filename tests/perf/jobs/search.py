"""Nearest neighbours, exact: one query, a hundred, and all near pairs, with everything in memory."""

from pathlib import Path

from perf.context import Context
from perf.measure import Contender, Failed, once, race
from perf.table import Goal, Row, row

DIM = 2048
COSINE = 0.98
# Single queries in succession.
TIMES = 9


def run(context: Context) -> list[Row]:
    """Both numbers of queries."""
    count = context.size(100_000, 2_000)
    paths = context.vectors(count, DIM)
    folder = Path(paths["matrix"]).parent
    options = paths | {name: str(folder / name) for name in ("lance", "duckdb")}
    for rival, name in (("lancedb", "lance"), ("duckdb", "duckdb")):
        if not Path(options[name]).exists():
            try:
                once(f"others.py:{name}_build", options, python=context.rivals.interpreter(rival))
            except Failed as error:
                print(f"{rival}: {error}", flush=True)
    return _queries(context, options, 1, count) + _queries(context, options, 100, count)


def _queries(context: Context, paths: dict[str, str], number: int, count: int) -> list[Row]:
    options = context.queries(paths, number)
    # A query takes a few milliseconds: many rounds, because one that another process disturbs is no measure.
    times = TIMES if number == 1 else 1
    contenders = [
        Contender("ours", "ours.py:similar", options, times=times),
        Contender("BLAS product", "limits.py:product", options, times=times),
        context.other("faiss flat", "faiss", "faiss_search", options, times=times),
        context.other("faiss SQ8, refined", "faiss", "faiss_quantised", options, times=times),
        context.other("usearch, exact", "usearch", "everyday.py:usearch_search", options, times=times),
        context.other("scikit-learn, brute", "scikit-learn", "everyday.py:sklearn_search", options, times=times),
    ]
    if number == 1:
        contenders += [
            context.other("LanceDB flat", "lancedb", "lance_search", options, repeats=context.repeats),
            context.other("DuckDB SQL", "duckdb", "duckdb_search", options, repeats=context.repeats),
        ]
    runs = race(contenders, context.repeats * (4 if number == 1 else 2))
    goals = {"BLAS product": Goal(0.35), "faiss flat": Goal(1.0)} if number == 1 else {"faiss flat": Goal(1.2)}
    rows = []
    for contender in contenders[1:]:
        same = runs[contender.name].answer in (None, runs["ours"].answer)
        limit = contender.name == "BLAS product"
        rows.append(
            row(
                "top 10",
                f"{number} {'query' if number == 1 else 'queries'}, {count:,} × {DIM:,}",
                ours=runs["ours"],
                other=contender.name,
                theirs=runs[contender.name],
                goal=goals.get(contender.name, None if limit else Goal(1.0)),
                kind="limit" if limit else "rival",
                note="" if same else f"NOT THE SAME ANSWER: {runs['ours'].answer} and {runs[contender.name].answer}",
            )
        )
    return rows


def pairs(context: Context) -> list[Row]:
    """All pairs of a cosine of at least `COSINE`."""
    count = context.size(20_000, 2_000)
    options: dict[str, object] = {**context.vectors(count, DIM, store=False, every=40), "cosine": COSINE}
    runs = race(
        [
            Contender("ours", "ours.py:near_pairs", options),
            context.other("faiss", "faiss", "faiss_pairs", options),
        ],
        context.size(2, 1),
    )
    ours, theirs = runs["ours"], runs["faiss"]
    told = f"{ours.answer} pairs" if ours.answer == theirs.answer else f"{ours.answer} and {theirs.answer} pairs"
    return [
        row(
            "near pairs",
            f"{count:,} × {DIM:,}",
            ours=ours,
            other="faiss range search",
            theirs=theirs,
            goal=Goal(1.2),
            note=told,
        )
    ]
