"""Equal input, equal bytes: parts, split hashes, scores and probabilities, on one worker and on four."""

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from featurestore.catalog.records import read_records
from torture import content as contents
from torture.bed import Bed
from torture.content import Content
from torture.context import Context
from torture.table import Row

WORKERS = (1, 4)
HEADS = ("majority", "knn", "logistic_regression", "linear_svm", "hist_gradient_boosting", "random_forest", "mlp")


def run(context: Context) -> list[Row]:
    """A row each for ingest, embed, import, compact and bench."""
    bed = context.bed("determinism")
    rounds = 3
    if context.quick:
        return [_row("embed", "part bytes on 1 and 4 workers", bed, 1, lambda workers: _embedded(bed, workers))]
    rows = [
        _row("ingest", "part bytes, twice", bed, rounds, lambda workers: _parts(_ingested(bed))),
        _row("embed", "part bytes on 1 and 4 workers", bed, rounds, lambda workers: _embedded(bed, workers)),
        _row("import-embeddings", "part bytes, twice", bed, rounds, lambda workers: _imported(bed)),
        _row("compact", "part bytes, twice", bed, rounds, lambda workers: _compacted(bed)),
    ]
    return [*rows, *bench(context, bed)]


def _row(job: str, what: str, bed: Bed, rounds: int, make: Callable[[int], list[str]]) -> Row:
    started, faults = time.monotonic(), []
    first = make(WORKERS[0])
    turns = (WORKERS * rounds)[1:]
    for workers in turns:
        other = make(workers)
        if other != first:
            faults.append(f"on {workers} workers {sorted(set(other) ^ set(first))[:4]} differ")
    note = f"{len(first)} parts alike"
    return Row(job, what, 1 + len(turns), faults, time.monotonic() - started, note)


def _run(bed: Bed, root: Path, *arguments: str | Path) -> str:
    """The command's output.

    Raises
    ------
    RuntimeError
        When it fails.
    """
    done = bed.run([*arguments[:2], "--store", root, *arguments[2:]])
    if done.code:
        raise RuntimeError(done.err)
    return done.out


def _parts(root: Path, *, but: tuple[str, ...] = ("extractions",)) -> list[str]:
    """The names of the parts, which are hashes of their bytes; `extractions` tells when and is left out."""
    return [name for name in sorted(read_records(root).parts) if name.split("/")[0] not in but]


def _ingested(bed: Bed) -> Path:
    root = bed.store("empty")
    _run(bed, root, "featurestore", "ingest", "--metadata", bed.metadata, "--images", bed.images)
    return root


def _embedded(bed: Bed, workers: int) -> list[str]:
    root = bed.store("ingested", bed.ingested)
    for backbone in ("counting", "descriptors"):
        _run(bed, root, "featurestore", "embed", "--backbone", backbone, "--workers", str(workers), "--batch-size", "4")
    return _parts(root)


def _imported(bed: Bed) -> list[str]:
    root = bed.store("ingested", bed.ingested)
    files = (bed.vectors, "--backbone", "imported", "--ids", bed.vector_ids)
    _run(bed, root, "featurestore", "import-embeddings", *files)
    return _parts(root)


def _compacted(bed: Bed) -> list[str]:
    root = bed.store("many_parts", bed.many_parts)
    _run(bed, root, "featurestore", "compact")
    return _parts(root)


def bench(context: Context, bed: Bed) -> list[Row]:
    """A row a table. Cells come in any order, so their rows are compared, not the bytes of parts."""
    started = time.monotonic()
    runs = {workers: _benched(bed, workers, HEADS[: context.size(len(HEADS), 2)]) for workers in WORKERS}
    first = runs[WORKERS[0]]
    rows = []
    for table, what in {
        "bench_cells": "cells with split hashes on 1 and 4 workers",
        "bench_predictions": "out-of-fold probabilities on 1 and 4 workers",
        "bench_scores": "scores on 1 and 4 workers",
    }.items():
        faults = [
            f"on {workers} workers {(rows_of[table] - first[table]).total()} differ ({_heads(first, rows_of, table)})"
            for workers, rows_of in runs.items()
            if rows_of[table] != first[table]
        ]
        rows.append(Row("bench", what, first[table].total(), faults, time.monotonic() - started, "rows"))
        started = time.monotonic()
    return rows


def _benched(bed: Bed, workers: int, heads: tuple[str, ...]) -> Content:
    root = bed.store("embedded", bed.embedded)
    chosen = [word for head in heads for word in ("--head", head)]
    options = ("--quick", "--folds", "3", "--backbone", "counting", "--workers", str(workers), "--json")
    _run(bed, root, "benchmarks", "run", *chosen, *options)
    return contents.content(root)


def _heads(first: Content, other: Content, table: str) -> str:
    """The heads whose rows differ."""
    names = {json.loads(row)["cell"]: json.loads(row)["head"] for row in first["bench_cells"]}
    changed: Counter[str] = other[table] - first[table]
    return ", ".join(sorted({names.get(json.loads(row)["cell"], "?") for row in changed}))
