"""The list of a store's runs: what each compared, and how far it came."""

from typing import Any

from benchmarks.plan.protocols import ONE_REPEAT
from benchmarks.report.formats import lined_up
from benchmarks.results.read import runs
from benchmarks.results.selection import stored_cells
from featurestore import FeatureStore


def listed(store: FeatureStore) -> list[dict[str, Any]]:
    """Every run, newest first, those with shuffled labels too; ready for JSON.

    ``cells`` were planned, ``done`` have a result and ``failed`` have none for a reason that is stored. ``backbones``
    and ``heads`` are those of cells that were tried. ``quick``: one repeat of folds that can be drawn again.

    Raises
    ------
    InputError
        When there are none.
    """
    known = stored_cells(store)
    found = []
    for run in runs(store, canary=None):
        tried = [known[key] for key in run["cells"] if key in known]
        found.append(
            {
                **{name: run[name] for name in ("run_id", "started_at", "protocol", "view", "label")},
                "backbones": list(dict.fromkeys(cell.backbone for cell in tried)),
                "heads": list(dict.fromkeys(cell.head for cell in tried)),
                "cells": len(run["cells"]),
                "done": sum(cell.ok for cell in tried),
                "failed": sum(not cell.ok for cell in tried),
                "repeats": run["repeats"],
                "seed": run["seed"],
                "quick": run["repeats"] == 1 and run["protocol"] not in ONE_REPEAT and not run["canary"],
                "canary": run["canary"],
            }
        )
    return found


def lines(found: list[dict[str, Any]]) -> list[str]:
    """The list for a person."""
    rows = [("run", "started, UTC", "protocol", "view/label", "cells", "kind", "backbones × heads")]
    for run in found:
        kind = "canary" if run["canary"] else "quick" if run["quick"] else "whole"
        rows.append(
            (
                run["run_id"],
                f"{run['started_at']:%Y-%m-%d %H:%M}",
                run["protocol"],
                f"{run['view']}/{run['label']}",
                f"{run['done']} of {run['cells']}" + (f", {run['failed']} failed" if run["failed"] else ""),
                kind,
                f"{', '.join(run['backbones'])} × {', '.join(run['heads'])}" if run["heads"] else "",
            )
        )
    return lined_up(rows, gap=2)
