"""What a store holds, without what differs from run to run; equal content is equal rows, whatever parts hold them."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featurestore.catalog import snapshots
from featurestore.catalog.records import read_records
from featurestore.storage.layout import Layout
from featurestore.storage.names import RECORDED, revision_of
from featurestore.storage.objects import LocalObjects
from featurestore.storage.parts import read_part
from featurestore.storage.state import State, read_state

# Facts about when, where and in how many runs; an interrupted extraction adds a record of its own.
VOLATILE = {
    "extractions": {"extraction", "at", "machine"},
    "embeddings": {"extraction"},
    "bench_runs": {"run_id", "started_at", "state_id", "machine"},
    "bench_run_details": {"run_id"},
    "bench_groups": {"run_id"},
    "bench_across": {"run_id"},
    "bench_cells": {"run_id", "finished_at"},
}
TIMES = {"fit_seconds", "predict_ms"}
ONCE = {"extractions"}
Content = Mapping[str, Counter[str]]


def content(root: Path, state: State | None = None, objects: LocalObjects | None = None) -> Content:
    """The rows of every table of a state, the current one when None, each as text with the times it occurs.

    ``objects`` are the files of a store on an object store, whose parts have been fetched to ``root``.
    The vectors of all revisions are one table. Revisions, settings and views of the state stand beside the tables,
    under ``.state``.
    """
    state = state or read_state(root)
    found: dict[str, Counter[str]] = {}
    layout = Layout(objects or root, state)
    for key in state.tables:
        table, revision = key.partition("/")[0], revision_of(key)
        more = {} if revision is None else dict(zip(("backbone", "revision"), revision, strict=True))
        rows = found.setdefault(table, Counter())
        for part in layout.parts(key):
            for row in read_part(root / part.path).to_pylist():
                if table == "bench_scores" and row["metric"] in TIMES:
                    continue
                rows[_text({**more, **row}, VOLATILE.get(table, set()))] += 1
    found |= {table: Counter(set(found[table])) for table in ONCE if table in found}
    facts = {"revisions": dict(state.revisions), "settings": dict(state.settings), "views": dict(state.views)}
    found[".state"] = Counter({json.dumps(facts, sort_keys=True): 1})
    return found


def whole(root: Path) -> Content:
    """The content of the current state and, under ``name/table``, of every snapshot."""
    found = dict(content(root))
    for info in snapshots.listing(root):
        kept = content(root, snapshots.read(root, info.name))
        found |= {f"{info.name}/{table}": rows for table, rows in kept.items()}
    return found


def digest(found: Content) -> str:
    """16 hex digits of a content: the *content hash*."""
    ordered = {table: sorted(rows.items()) for table, rows in sorted(found.items()) if rows}
    return hashlib.sha256(json.dumps(ordered).encode()).hexdigest()[:16]


def lost(before: Content, after: Content) -> dict[str, int]:
    """How many rows of each table are in ``before`` but not in ``after``."""
    missing = {table: (rows - after.get(table, Counter())).total() for table, rows in before.items() if table[0] != "."}
    return {table: count for table, count in missing.items() if count}


def strays(root: Path) -> list[str]:
    """Files that a tidy store has not: half-written ones, staged batches, parts and manifests that nothing names."""
    kept = read_records(root).referenced
    found = []
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = str(path.relative_to(root))
        data = RECORDED["part"].fullmatch(name) is not None or name.startswith("manifests/")
        if ".tmp" in path.name or name.startswith("staging/") or (data and name not in kept):
            found.append(name)
    return found


def _text(row: dict[str, Any], but: set[str]) -> str:
    return json.dumps({name: value for name, value in sorted(row.items()) if name not in but}, default=str)
