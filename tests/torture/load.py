"""Readers, would-be writers and a bench on one store at once: memory flat, no lock errors, every answer consistent."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore import FeatureStore
from featurestore.catalog import maintenance
from torture import bed as beds
from torture.bed import Bed
from torture.context import Context
from torture.table import Row

READERS, WRITERS = 8, 2
# What a reader may grow by from the second quarter of its time to the last: what an allocator keeps.
GROWTH_MB = 30.0
# In less time a reader is still warming up in its second quarter, and a writer may meet only the other one's lock.
LONG_SECONDS = 60.0
WORKER = Path(__file__).with_name("load_worker.py")


def run(context: Context) -> list[Row]:
    """A row for the readers' answers, their memory, the writers and the bench."""
    readers = context.size(READERS, 2)
    bed = context.bed("load")
    root = bed.store("embedded", bed.embedded)
    FeatureStore(root).append({name: pa.table({"step": [0], "writer": [-1]}) for name in ("a", "b")})
    started = time.monotonic()
    running = {
        "reader": [_start(bed, "reader", root, context.seconds, number) for number in range(readers)],
        "writer": [_start(bed, "writer", root, context.seconds, number) for number in range(WRITERS)],
        "bench": [_start(bed, "bench", root, context.seconds, 0)],
    }
    found = {kind: [_ended(process, context.seconds) for process in some] for kind, some in running.items()}
    seconds = time.monotonic() - started
    rows = _rows(found, seconds, long=context.seconds >= LONG_SECONDS)
    return [*rows, _after(root, found["writer"])]


def _start(bed: Bed, kind: str, root: Path, seconds: float, number: int) -> "subprocess.Popen[str]":
    command = [sys.executable, str(WORKER), kind, str(root), str(seconds), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _ended(process: "subprocess.Popen[str]", seconds: float) -> dict[str, Any]:
    out, err = process.communicate(timeout=seconds + beds.TIMEOUT)
    if process.returncode:
        return {"faults": [f"it died with {process.returncode}: {err.strip()[-300:]}"], "done": 0, "memory_mb": []}
    found: dict[str, Any] = json.loads(out)
    return found


def _rows(found: dict[str, list[dict[str, Any]]], seconds: float, *, long: bool) -> list[Row]:
    rows = []
    words = {
        "reader": "every answer is one whole state",
        "writer": "commits; StoreLocked is all that stops one",
        "bench": "a whole run each time, every cell good",
    }
    for kind, what in words.items():
        some = found[kind]
        faults = [fault for one in some for fault in one["faults"]]
        count = sum(one["done"] for one in some)
        if not all(one["done"] or (not long and one.get("locked")) for one in some):
            faults.append(f"one of {len(some)} has done nothing")
        locked = sum(one.get("locked", 0) for one in some)
        states = max(one.get("states", 0) for one in some)
        note = {"reader": f"up to {states} states seen", "writer": f"{locked} times told to wait", "bench": ""}[kind]
        rows.append(Row(f"{len(some)} {kind}{'s' * (len(some) > 1)}", what, count, faults, seconds, note))
    rows.append(_memory(found["reader"], seconds, long=long))
    return rows


def _memory(readers: Sequence[dict[str, Any]], seconds: float, *, long: bool) -> Row:
    if not long:
        return Row("readers' memory", "flat", 0, [], seconds, "too short to tell")
    faults, growths, peaks = [], [], []
    for reader in readers:
        marks = reader["memory_mb"]
        if len(marks) < 8:
            continue
        quarter = len(marks) // 4
        growth = statistics.median(marks[-quarter:]) - statistics.median(marks[quarter : 2 * quarter])
        growths.append(growth)
        peaks.append(max(marks))
        if growth > GROWTH_MB:
            faults.append(f"a reader grew by {growth:.0f} MB from its second quarter to its last")
    if not growths:
        faults.append("no reader looked eight times")
        peaks, growths = [0.0], [0.0]
    note = f"grew by {max(growths):.1f} MB at most, peak {max(peaks):.0f} MB"
    return Row("readers' memory", "flat", len(growths), faults, seconds, note)


def _after(root: Path, writers: Sequence[dict[str, Any]]) -> Row:
    """Every commit that a writer was told of is there, once; nothing is damaged or left over."""
    started = time.monotonic()
    faults = beds.faults_of(root)
    told = sum(writer.get("appends", 0) for writer in writers)
    with FeatureStore(root) as store:
        rows = store.query("SELECT count(*) AS n, count(DISTINCT (step, writer)) AS d FROM a").to_pylist()[0]
    if rows["n"] != told + 1 or rows["d"] != told + 1:
        faults.append(f"{told} appends were told done, the table has {rows['n'] - 1} rows, {rows['d'] - 1} different")
    faults += beds.tidy_faults(root)
    parts = maintenance.verify(root).parts
    return Row(
        "afterwards", "no commit lost, none twice, sound, tidy", parts, faults, time.monotonic() - started, "parts"
    )
