"""Results as rows of the tables in the store; nothing is fitted or formatted here."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.plan.cells import BENCH_VERSION, Cell, Cost, Outcome, Plan, plain_settings
from benchmarks.results import across
from benchmarks.results.pending import Batch
from benchmarks.results.schemas import CELLS, CORRECTED, COSTS, GROUPS, PREDICTIONS, RUN_DETAILS, RUNS, SCORES
from benchmarks.scores.metrics import TASKS
from featurestore import FeatureStore

LIBRARIES = ("numpy", "scikit-learn", "scipy", "xgboost", "lightgbm", "torch", "duckdb", "pyarrow")
SPEED = ("fit_seconds", "predict_ms")
Finished = tuple[Cell, Outcome]


def machine() -> str:
    """What the figures were measured on, in words."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def stored_cells(store: FeatureStore, keys: Sequence[str]) -> set[str]:
    """Those of ``keys`` that are stored with status ok; failed cells are computed again."""
    store.refresh()
    if not store.has("bench_cells"):
        return set()
    rows = store.sql("SELECT DISTINCT cell FROM bench_cells WHERE status = 'ok'")
    return set(rows["cell"].to_pylist()) & set(keys)


def load_outcomes(store: FeatureStore, cells: Sequence[Cell]) -> dict[str, Outcome]:
    """Stored outcomes with status ok by key of the cell, rows in the order of the split's test part."""
    if not cells:
        return {}
    keys = [cell.key for cell in cells]
    rows = store.sql(
        "SELECT cell, any_value(chosen) AS chosen, any_value(inner_score) AS inner_score FROM bench_cells "
        "WHERE cell IN (SELECT unnest(?)) AND status = 'ok' GROUP BY cell",
        [keys],
    ).to_pylist()
    about = {row["cell"]: row for row in rows}
    found = store.sql(
        "SELECT cell, ImgId, any_value(proba) AS proba FROM bench_predictions WHERE cell IN (SELECT unnest(?)) "
        "GROUP BY cell, ImgId ORDER BY cell, ImgId",
        [keys],
    )
    names, ids = found["cell"].to_numpy(), found["ImgId"].to_numpy()
    speed = _stored_speed(store, keys)
    outcomes = {}
    for cell in cells:
        rows_of = np.flatnonzero(names == cell.key)
        wanted = cell.dataset.ids[cell.split.test]
        place = rows_of[np.searchsorted(ids[rows_of], wanted)]
        proba = np.array(found["proba"].take(pa.array(place)).to_pylist(), np.float32)
        record = about[cell.key]
        outcomes[cell.key] = Outcome(
            "ok", "", proba, *speed[cell.key], record["chosen"] or "", record["inner_score"] or float("nan")
        )
    return outcomes


def _stored_speed(store: FeatureStore, keys: Sequence[str]) -> dict[str, tuple[float, float]]:
    rows = store.sql(
        "SELECT cell, any_value(score) FILTER (metric = 'fit_seconds') AS fit_seconds, "
        "any_value(score) FILTER (metric = 'predict_ms') AS predict_ms "
        "FROM bench_scores WHERE cell IN (SELECT unnest(?)) GROUP BY cell",
        [list(keys)],
    )
    return {row["cell"]: (row["fit_seconds"], row["predict_ms"]) for row in rows.to_pylist()}


def start_run(store: FeatureStore, plan: Plan) -> str:
    """Store the record of a run, which names all its cells, and return its id.

    A run that equals the newest of its protocol adds no record.
    """
    dataset = plan.cells[0].dataset
    keys = [cell.key for cell in plan.cells]
    details = {
        "bench_version": BENCH_VERSION,
        "labels_hash": dataset.labels_hash,
        "n_unlabelled": dataset.unlabelled,
        "n_rare": dataset.rare,
        "reference_named": plan.reference_named,
    }
    same = _same_as_newest(store, plan, keys, details)
    if same is not None:
        return same
    started = datetime.now(UTC)
    run_id = f"{plan.protocol.name}-{started:%Y%m%dT%H%M%S%f}"
    rows = plan.rows
    row = {
        "run_id": run_id,
        "started_at": started,
        "protocol": plan.protocol.name,
        "protocol_text": plan.protocol.describe(dataset),
        "folds": plan.folds,
        "repeats": plan.protocol.repeats,
        "task": dataset.task,
        "canary": plan.canary,
        "view": dataset.view,
        "label": dataset.label,
        "classes": list(dataset.classes),
        "class_counts": dataset.class_counts(rows).tolist(),
        "seed": plan.seed,
        "seeds": plan.seeds,
        "reference": plan.reference,
        "state_id": dataset.state_id,
        "synthetic": any(cell.dataset.synthetic for cell in plan.cells),
        "n_rows": len(rows),
        "n_missing": dataset.missing,
        "leaks": max(cell.split.leaks(dataset.groups) for cell in plan.cells),
        "warnings": list(plan.warnings),
        "libraries": json.dumps(library_versions()),
        "machine": machine(),
        "cells": keys,
    }
    store.append(
        {
            "bench_runs": pa.Table.from_pylist([row], schema=RUNS),
            "bench_run_details": pa.Table.from_pylist([{"run_id": run_id, **details}], schema=RUN_DETAILS),
            "bench_groups": _copies(run_id, plan),
            **({"bench_corrected": _corrected(run_id, plan)} if len(corrected_ids(plan)) else {}),
            **({"bench_across": across.record(run_id, plan)} if plan.protocol.name == "across" else {}),
        }
    )
    return run_id


def _copies(run_id: str, plan: Plan) -> pa.Table:
    """The images that are copies of others in the run, each with the number of its group."""
    dataset = plan.cells[0].dataset
    ids, groups = dataset.ids[plan.rows], dataset.groups[plan.rows]
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    several = counts[group] > 1
    columns = [[run_id] * int(several.sum()), ids[several], group[several]]
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, GROUPS, strict=True)], schema=GROUPS)


def corrected_ids(plan: Plan) -> NDArray[np.int32]:
    """The images of a plan whose label is a corrected one, ascending."""
    dataset = plan.cells[0].dataset
    return np.intersect1d(dataset.ids[plan.rows], dataset.corrected)


def _corrected(run_id: str, plan: Plan) -> pa.Table:
    ids = corrected_ids(plan)
    return pa.Table.from_arrays([pa.array([run_id] * len(ids)), pa.array(ids, pa.int32())], schema=CORRECTED)


def _same_as_newest(store: FeatureStore, plan: Plan, keys: Sequence[str], details: Mapping[str, Any]) -> str | None:
    """The id of the newest run of the protocol if it equals the run that is planned."""
    if not (store.has("bench_runs") and store.has("bench_run_details")):
        return None
    dataset = plan.cells[0].dataset
    named = {
        "list_sort(cells)": sorted(keys),
        "view": dataset.view,
        "label": dataset.label,
        "reference": plan.reference,
        "n_missing": dataset.missing,
        # What it says of groups and of leaks: equal cells may be told more of now.
        "protocol_text": plan.protocol.describe(dataset),
        "warnings": list(plan.warnings),
        **details,
    }
    newest = store.sql(
        f"SELECT run_id, {' AND '.join(f'{name} = ?' for name in named)} AS equal "
        "FROM bench_runs LEFT JOIN bench_run_details USING (run_id) "
        "WHERE protocol = ? AND canary = ? ORDER BY started_at DESC, run_id DESC LIMIT 1",
        [*named.values(), plan.protocol.name, plan.canary],
    ).to_pylist()
    if not newest or not newest[0]["equal"]:
        return None
    # The same labels may come from corrections in one run and be read so in another.
    run_id, corrected = str(newest[0]["run_id"]), np.empty(0, np.int32)
    if store.has("bench_corrected"):
        query = "SELECT ImgId FROM bench_corrected WHERE run_id = ? ORDER BY ImgId"
        corrected = store.sql(query, [run_id])["ImgId"].to_numpy()
    return run_id if np.array_equal(corrected, corrected_ids(plan)) else None


def outcome_tables(run_id: str, outcomes: Sequence[Finished]) -> Batch:
    """The rows of finished cells: themselves, their scores and every out-of-fold probability."""
    good = [(cell, outcome) for cell, outcome in outcomes if outcome.status == "ok"]
    return {
        "bench_cells": pa.Table.from_pylist([_cell_row(cell, run_id, one) for cell, one in outcomes], schema=CELLS),
        "bench_scores": pa.Table.from_pylist([row for one in good for row in _score_rows(*one)], schema=SCORES),
        "bench_predictions": pa.concat_tables([PREDICTIONS.empty_table(), *(_predictions(*one) for one in good)]),
    }


def _cell_row(cell: Cell, run_id: str, outcome: Outcome) -> dict[str, Any]:
    dataset, split = cell.dataset, cell.split
    return {
        "cell": cell.key,
        "model": cell.model_key,
        "run_id": run_id,
        "finished_at": datetime.now(UTC),
        "backbone": dataset.backbone,
        "revision": dataset.revision,
        "head": cell.head.name,
        "parameters": json.dumps(plain_settings(cell.head.parameters)),
        "chosen": outcome.chosen or None,
        "inner_score": None if np.isnan(outcome.inner_score) else outcome.inner_score,
        "task": dataset.task,
        "protocol": split.protocol,
        "repeat": split.repeat,
        "fold": split.fold,
        "size": split.size,
        "split_hash": split.hash(dataset.ids),
        "data_hash": dataset.data_hash,
        "synthetic": dataset.synthetic,
        "seed": cell.seed,
        "n_train": len(split.train),
        "n_test": len(split.test),
        "status": outcome.status,
        "message": outcome.message,
    }


def _score_rows(cell: Cell, outcome: Outcome) -> list[dict[str, Any]]:
    y = cell.dataset.y[cell.split.test]
    values = {name: metric.function(y, outcome.proba) for name, metric in TASKS[cell.dataset.task].items()}
    values |= {name: asdict(outcome)[name] for name in SPEED}
    return [{"cell": cell.key, "metric": name, "score": value} for name, value in values.items()]


def _predictions(cell: Cell, outcome: Outcome) -> pa.Table:
    y = cell.dataset.y[cell.split.test]
    several = y.ndim == 2
    columns = {
        "cell": pa.array([cell.key] * len(y), pa.string()),
        "ImgId": pa.array(cell.dataset.ids[cell.split.test], pa.int32()),
        "y": pa.array(y.argmax(axis=1) if several else y, pa.int32()),
        "labels": pa.array(
            [np.flatnonzero(row).tolist() for row in y] if several else [None] * len(y),
            PREDICTIONS.field("labels").type,
        ),
        "proba": pa.array(list(outcome.proba), PREDICTIONS.field("proba").type),
    }
    return pa.Table.from_pydict(columns, schema=PREDICTIONS)


def measured_models(store: FeatureStore) -> set[str]:
    """The models whose cost is stored, by `Cell.model_key`."""
    if not store.has("bench_costs"):
        return set()
    return set(store.sql("SELECT DISTINCT model FROM bench_costs WHERE message = ''")["model"].to_pylist())


def cost_tables(costs: Sequence[tuple[Cell, Cost]]) -> Batch:
    """The rows of measured costs."""
    rows = [
        {
            "model": cell.model_key,
            "backbone": cell.dataset.backbone,
            "head": cell.head.name,
            "measured_at": datetime.now(UTC),
            "n_train": len(cell.split.train),
            "machine": machine(),
            **{name: None if value != value else value for name, value in asdict(cost).items()},
        }
        for cell, cost in costs
    ]
    return {"bench_costs": pa.Table.from_pylist(rows, schema=COSTS)}


def library_versions() -> dict[str, str]:
    """Name and version of each library that decides a result."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
