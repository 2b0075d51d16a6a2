"""One reader, writer or bench of the load, in a process of its own; prints what it saw as JSON.

python load_worker.py reader|writer|bench STORE SECONDS NUMBER
"""

import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "helpers")]

import pyarrow as pa  # noqa: E402

from featurestore import FeatureStore  # noqa: E402
from featurestore import open as open_store  # noqa: E402
from featurestore.catalog import maintenance  # noqa: E402
from featurestore.errors import StoreError, StoreLocked  # noqa: E402

# Rows of `a` and `b` are committed together, so a whole state has as many of each; the bench commits its tables so too.
INVARIANT = """
SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b,
       (SELECT max(step) FROM a) AS last_a, (SELECT max(step) FROM b) AS last_b,
       (SELECT count(*) FROM collection) AS images, (SELECT count(*) FROM embeddings_counting) AS vectors
"""
CELLS = """
SELECT (SELECT count(DISTINCT cell) FROM bench_cells WHERE status = 'ok') AS cells,
       (SELECT count(DISTINCT cell) FROM bench_predictions) AS predicted
"""
EVERY = {"gc": 7, "compact": 5}


def memory_mb() -> float:
    """What this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def reader(root: Path, seconds: float, _: int) -> dict[str, Any]:
    """Refresh and look, again and again."""
    store, end, faults, marks, seen, done = open_store(root), time.time() + seconds, [], [], set(), 0
    tidied = 0
    while time.time() < end:
        store.refresh()
        try:
            fault = _look(store)
        except StoreError as error:  # `gc` may take the state away under a reader: it is told to refresh
            if "call `refresh()`" not in str(error):
                raise
            tidied += 1
            continue
        if fault:
            faults.append(fault)
        seen.add(store.state.number)
        done += 1
        marks.append(memory_mb())
    step = max(1, len(marks) // 400)
    return {"done": done, "faults": faults[:5], "memory_mb": marks[::step], "states": len(seen), "tidied": tidied}


def _look(store: FeatureStore) -> str:
    row = store.sql(INVARIANT).to_pylist()[0]
    if row["a"] != row["b"] or row["last_a"] != row["last_b"]:
        return f"half a commit: {row}"
    if row["images"] != 24 or row["vectors"] != 24:
        return f"rows are missing: {row}"
    features = store.features("counting", view="collection")
    if len(features) != 24 or features.missing:
        return f"{len(features)} features, {features.missing} missing"
    if store.has("bench_predictions"):
        cells = store.sql(CELLS).to_pylist()[0]
        if cells["cells"] != cells["predicted"]:
            return f"half of a bench commit: {cells}"
    return ""


def writer(root: Path, seconds: float, number: int) -> dict[str, Any]:
    """Commit to two tables; in between compact and gc; never wait, so that the other one is met."""
    store, end, done, appends, locked, faults = open_store(root), time.time() + seconds, 0, 0, 0, []
    step = number
    while time.time() < end:
        step += 2
        try:
            if step // 2 % EVERY["gc"] == 0:
                maintenance.gc(root, older_than=timedelta(0))
            elif step // 2 % EVERY["compact"] == 0:
                maintenance.compact(root)
            else:
                rows = pa.table({"step": [step], "writer": [number]})
                store.append({"a": rows, "b": rows}, wait_seconds=0.0)
                appends += 1
            done += 1
        except StoreLocked as error:
            locked += 1
            if "is being written by" not in str(error):
                faults.append(str(error))
            time.sleep(0.05)
        time.sleep(0.02)
    return {"done": done, "appends": appends, "locked": locked, "faults": faults[:5], "memory_mb": []}


def bench(root: Path, seconds: float, _: int) -> dict[str, Any]:
    """Run the bench with one seed after another: each is new cells."""
    from benchmarks.heads.registry import find
    from benchmarks.plan.protocols import Protocol
    from benchmarks.run.limits import Limits
    from benchmarks.run.runner import run

    end, done, faults, seed = time.time() + seconds, 0, [], 0
    heads = find(["majority", "knn"])
    while time.time() < end or not done:
        protocol = Protocol("cv", folds=3, repeats=1, seed=seed)
        with open_store(root) as store:
            (report,) = run(
                store, heads=heads, protocols=[protocol], backbones=["counting"], seed=seed, limits=Limits(workers=1)
            )
        if report.failed or report.computed != report.cells:
            faults.append(f"seed {seed}: {report}")
        done, seed = done + 1, seed + 1
    return {"done": done, "faults": faults[:5], "memory_mb": []}


if __name__ == "__main__":
    kind, store_path, duration, which = sys.argv[1:]
    work = {"reader": reader, "writer": writer, "bench": bench}[kind]
    print(json.dumps(work(Path(store_path), float(duration), int(which))))
