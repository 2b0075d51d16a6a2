"""Results as tables in the store, and the queries over them; nothing is fitted or formatted here."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from typing import Any

import pyarrow as pa

from benchmarks.cells import Cell, Outcome
from benchmarks.metrics import METRICS
from benchmarks.protocols import Protocol
from featurestore import FeatureStore
from featurestore.errors import InputError

LIBRARIES = ("numpy", "scikit-learn", "xgboost", "lightgbm", "torch", "duckdb", "pyarrow")
COST = ("fit_seconds", "predict_ms")

RUNS = pa.schema(
    [
        ("run_id", pa.string()),
        ("started_at", pa.timestamp("us", tz="UTC")),
        ("protocol", pa.string()),
        ("protocol_text", pa.string()),
        ("view", pa.string()),
        ("label", pa.string()),
        ("classes", pa.list_(pa.string())),
        ("seed", pa.int64()),
        ("state_id", pa.string()),
        ("synthetic", pa.bool_()),
        ("n_rows", pa.int64()),
        ("n_missing", pa.int64()),
        ("leaks", pa.int64()),
        ("libraries", pa.string()),
        ("machine", pa.string()),
        ("cells", pa.list_(pa.string())),
    ]
)
CELLS = pa.schema(
    [
        ("cell", pa.string()),
        ("run_id", pa.string()),
        ("finished_at", pa.timestamp("us", tz="UTC")),
        ("backbone", pa.string()),
        ("revision", pa.string()),
        ("head", pa.string()),
        ("parameters", pa.string()),
        ("protocol", pa.string()),
        ("repeat", pa.int32()),
        ("fold", pa.int32()),
        ("split_hash", pa.string()),
        ("data_hash", pa.string()),
        ("seed", pa.int64()),
        ("n_train", pa.int64()),
        ("n_test", pa.int64()),
        ("status", pa.string()),
        ("message", pa.string()),
    ]
)
SCORES = pa.schema([("cell", pa.string()), ("metric", pa.string()), ("score", pa.float64())])
PREDICTIONS = pa.schema(
    [("cell", pa.string()), ("ImgId", pa.int32()), ("y", pa.int32()), ("proba", pa.list_(pa.float32()))]
)


def stored_cells(store: FeatureStore, keys: Sequence[str]) -> set[str]:
    """Those of ``keys`` whose result is stored and good; failed ones are worth another try."""
    store.refresh()
    if not store.has("bench_cells"):
        return set()
    rows = store.sql("SELECT DISTINCT cell FROM bench_cells WHERE status = 'ok'")
    return set(rows["cell"].to_pylist()) & set(keys)


def start_run(store: FeatureStore, protocol: Protocol, cells: Sequence[Cell], *, seed: int) -> str:
    """Store the record of a run, which names all its cells, and return its id.

    A run that equals the newest of its protocol adds no record.
    """
    dataset = cells[0].dataset
    keys = [cell.key for cell in cells]
    if store.has("bench_runs"):
        newest = store.sql(
            "SELECT run_id, cells = ? AND view = ? AND label = ? AS equal FROM bench_runs WHERE protocol = ? "
            "ORDER BY started_at DESC LIMIT 1",
            [keys, dataset.view, dataset.label, protocol.name],
        ).to_pylist()
        if newest and newest[0]["equal"]:
            return str(newest[0]["run_id"])
    started = datetime.now(UTC)
    run_id = f"{protocol.name}-{started:%Y%m%dT%H%M%S%f}"
    row = {
        "run_id": run_id,
        "started_at": started,
        "protocol": protocol.name,
        "protocol_text": protocol.describe(),
        "view": dataset.view,
        "label": dataset.label,
        "classes": list(dataset.classes),
        "seed": seed,
        "state_id": dataset.state_id,
        "synthetic": any(cell.dataset.synthetic for cell in cells),
        "n_rows": len(dataset.y),
        "n_missing": dataset.missing,
        "leaks": max(cell.split.leaks(dataset.groups) for cell in cells),
        "libraries": json.dumps(_library_versions()),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "cells": keys,
    }
    store.append({"bench_runs": pa.Table.from_pylist([row], schema=RUNS)})
    return run_id


def store_outcomes(store: FeatureStore, run_id: str, outcomes: Sequence[tuple[Cell, Outcome]]) -> None:
    """Store finished cells with their scores and every out-of-fold probability, in one commit."""
    cells, scores, predictions = [], [], []
    for cell, outcome in outcomes:
        key, dataset, split = cell.key, cell.dataset, cell.split
        cells.append(
            {
                "cell": key,
                "run_id": run_id,
                "finished_at": datetime.now(UTC),
                "backbone": dataset.backbone,
                "revision": dataset.revision,
                "head": cell.head.name,
                "parameters": json.dumps(dict(cell.head.parameters)),
                "protocol": split.protocol,
                "repeat": split.repeat,
                "fold": split.fold,
                "split_hash": split.hash(dataset.ids),
                "data_hash": dataset.data_hash,
                "seed": cell.seed,
                "n_train": len(split.train),
                "n_test": len(split.test),
                "status": outcome.status,
                "message": outcome.message,
            }
        )
        if outcome.status != "ok":
            continue
        y = dataset.y[split.test]
        values = {name: metric.function(y, outcome.proba) for name, metric in METRICS.items()}
        values |= {name: asdict(outcome)[name] for name in COST}
        scores += [{"cell": key, "metric": name, "score": value} for name, value in values.items()]
        ids = dataset.ids[split.test].tolist()
        predictions += [
            {"cell": key, "ImgId": img_id, "y": int(code), "proba": row}
            for img_id, code, row in zip(ids, y, outcome.proba.tolist(), strict=True)
        ]
    store.append(
        {
            "bench_cells": pa.Table.from_pylist(cells, schema=CELLS),
            "bench_scores": pa.Table.from_pylist(scores, schema=SCORES),
            "bench_predictions": pa.Table.from_pylist(predictions, schema=PREDICTIONS),
        }
    )


def runs(store: FeatureStore, *, protocol: str | None = None) -> list[dict[str, Any]]:
    """The runs in the store, newest first.

    Raises
    ------
    InputError
        When there are none.
    """
    if store.has("bench_runs") and store.has("bench_cells"):
        rows = store.sql("SELECT * FROM bench_runs ORDER BY started_at DESC").to_pylist()
        kept = [row for row in rows if protocol in (None, row["protocol"])]
        if kept:
            return kept
    what = f"run of the protocol {protocol!r}" if protocol else "run"
    raise InputError(f"the store {str(store.path)!r} holds no {what}: start one with `benchmarks run`")


def comparison(store: FeatureStore, run_id: str) -> list[dict[str, Any]]:
    """The comparison table of a run: a row per backbone and head, best accuracy first; failed heads last."""
    query = files("benchmarks").joinpath("comparison.sql").read_text("utf-8")
    return store.sql(query, [run_id]).to_pylist()


def _library_versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
