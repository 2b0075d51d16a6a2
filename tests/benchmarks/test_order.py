"""The same results print the same bytes, whatever the process, its hash seed and its number of threads."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from support import CountingBackbone, jpeg, movie, write_metadata

from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.results import read as queries
from benchmarks.results.pending import SCHEMAS
from benchmarks.run import runner
from benchmarks.run.limits import Limits
from featurestore import FeatureStore

PRINT = """
import json
import sys
import featurestore
from pathlib import Path
from benchmarks.report import listing, run_diff
from benchmarks.report.page import write_html
from benchmarks.report.tables import FORMATS, tables_as_text, tables, write_report
from benchmarks.results.diff import run_difference
store = featurestore.open(sys.argv[1])
for threads in sys.argv[2:]:
    store.connection.execute(f"SET threads = {threads}")
    found = tables(store)
    print(*(tables_as_text(found, form) for form in FORMATS))
    runs = listing.listed(store)
    print(json.dumps(runs, default=str), *listing.lines(runs))
    changed = run_difference(store, runs[1]["run_id"], runs[0]["run_id"])
    print(run_diff.as_json(changed), *run_diff.lines(changed))
page, report = Path(sys.argv[1]) / "page.html", Path(sys.argv[1]) / "report.md"
write_html(store, found, page)
write_report(found, report)
print(page.read_text("utf-8"), report.read_text("utf-8"))
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Equal heads over equal vectors, their cells in many parts, which as many threads read."""
    folder = tmp_path_factory.mktemp("order")
    images = folder / "posters"
    images.mkdir()
    rows = []
    for i in range(40):
        (images / f"{100 + i}.jpg").write_bytes(jpeg(i))
        rows.append(movie(100 + i, "Drama" if i % 3 else "Comedy"))
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", rows), images=images)
    for name in ("counting", "twin"):
        store.embed(CountingBackbone(name=name))
    (knn,) = find(["knn"])
    heads = [replace(knn, name="b_knn"), replace(knn, name="a_knn"), *find(["majority"])]
    for repeats in (1, 2, 3):
        runner.run(store, heads=heads, protocols=[Protocol("cv", folds=3, repeats=repeats)], limits=Limits(workers=1))
    store_again(store.refresh())
    return store


def store_again(store: FeatureStore) -> None:
    """Every cell of majority once more, as if another process had computed it meanwhile, with other figures."""
    cells = store.sql("SELECT * FROM bench_cells WHERE head = 'majority'")
    names = cells["cell"].to_pylist()
    chosen = "WHERE cell IN (SELECT unnest(?))"
    proba = store.sql(f"SELECT * REPLACE (list_reverse(proba) AS proba) FROM bench_predictions {chosen}", [names])
    scores = store.sql(f"SELECT * REPLACE (score / 3 AS score) FROM bench_scores {chosen}", [names])
    tables = {"bench_cells": cells, "bench_scores": scores, "bench_predictions": proba}
    store.append({name: table.cast(SCHEMAS[name]) for name, table in tables.items()})
    store.refresh()


@pytest.mark.slow
def test_processes_print_equal_bytes(bench: FeatureStore) -> None:
    first, second = (
        subprocess.run(
            [sys.executable, "-c", PRINT, str(bench.path), *threads],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        )
        for seed, threads in (("1", ("1", "4")), ("2", ("2", "8")))
    )
    assert len(first.stdout) > 10_000
    assert first.stdout == second.stdout
    names = [(row["backbone"], row["head"]) for row in queries.comparison(bench, queries.runs(bench)[0])]
    equal = [(backbone, head) for head in ("a_knn", "b_knn") for backbone in ("counting", "twin")]
    assert [name for name in names if name in equal] == sorted(equal)


@pytest.mark.parametrize("noise", [0.0, 1e-16, -1e-16, 3e-12])
def test_scores_that_differ_by_rounding_errors_go_by_name(
    bench: FeatureStore, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = queries.run_query

    def noisy(store: FeatureStore, name: str, parameters: object):  # type: ignore[no-untyped-def]
        table = asked(store, name, parameters)
        rows = table.to_pylist(maps_as_pydicts="strict")
        for number, row in enumerate(rows):
            mean, *others = row["scores"]["accuracy"].values()
            row["scores"]["accuracy"] = [mean + noise * (-1) ** number, *others]

        class Rows:
            def to_pylist(self, **_: str) -> list[dict[str, object]]:
                return rows

        return Rows()

    expected = [(row["backbone"], row["head"]) for row in queries.comparison(bench, queries.runs(bench)[0])]
    monkeypatch.setattr(queries, "run_query", noisy)
    found = queries.comparison(bench, queries.runs(bench)[0])
    assert [(row["backbone"], row["head"]) for row in found] == expected
