"""Queries over stored results: every figure of a table or report comes from here; nothing is fitted."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.scores.metrics import TASKS
from featurestore import FeatureStore
from featurestore.errors import InputError

COSTS = ("predict_ms_p50", "predict_ms_p95", "memory_mb", "model_bytes", "depends_on_batch")


# Runs from before `bench_run_details`: what is known of them without it.
NO_DETAILS = "2 AS bench_version, NULL AS labels_hash, NULL AS n_unlabelled, NULL AS n_rare, false AS reference_named"
COUNTED = "SELECT run_id, count(*) AS n_corrected FROM bench_corrected GROUP BY run_id"
DETAILS = """coalesce(bench_version, 2) AS bench_version, labels_hash, n_unlabelled, n_rare,
    coalesce(reference_named, false) AS reference_named"""


def run_query(store: FeatureStore, name: str, parameters: Sequence[object] | None = None) -> pa.Table:
    """The result of the query in ``sql/<name>.sql``."""
    return store.sql(files("benchmarks").joinpath(f"results/sql/{name}.sql").read_text("utf-8"), parameters)


def stored_runs(
    store: FeatureStore, *, protocol: str | None = None, canary: bool | None = False
) -> list[dict[str, Any]]:
    """The runs in the store, newest first; those with shuffled labels only with ``canary=True``, all with None."""
    if not (store.has("bench_runs") and store.has("bench_cells")):
        return []
    detailed, across = store.has("bench_run_details"), store.has("bench_across")
    corrected = store.has("bench_corrected")
    rows = store.sql(
        f"SELECT bench_runs.*, {DETAILS if detailed else NO_DETAILS}, "
        f"{'by_column' if across else 'NULL AS by_column'}, "
        f"{'coalesce(n_corrected, 0)' if corrected else '0'} AS n_corrected "
        "FROM bench_runs "
        f"{'LEFT JOIN bench_run_details USING (run_id)' if detailed else ''} "
        f"{'LEFT JOIN (SELECT run_id, by_column FROM bench_across) USING (run_id)' if across else ''} "
        f"{f'LEFT JOIN ({COUNTED}) USING (run_id)' if corrected else ''} "
        "ORDER BY started_at DESC, run_id DESC"
    ).to_pylist()
    return [row for row in rows if protocol in (None, row["protocol"]) and canary in (None, row["canary"])]


def runs(store: FeatureStore, *, protocol: str | None = None, canary: bool | None = False) -> list[dict[str, Any]]:
    """`stored_runs`, at least one.

    Raises
    ------
    InputError
        When there are none.
    """
    found = stored_runs(store, protocol=protocol, canary=canary)
    if found:
        return found
    what = f"run of the protocol {protocol!r}" if protocol else "run"
    raise InputError(f"the store {store.location!r} holds no {what}: start one with `benchmarks run`")


def primary(run: dict[str, Any]) -> str:
    """The metric that the rows of a run are ranked and tested by."""
    return next(iter(TASKS[run["task"]]))


def comparison(store: FeatureStore, run: dict[str, Any], *, rank_by: str | None = None) -> list[dict[str, Any]]:
    """A row per backbone, head and training size: best first, whole training part before shares, failed rows last.

    The best by ``rank_by``, a metric of the task; by its first one when None.

    Each holds every metric of the task (means over the cells), ``<primary>_sd``, ``<primary>_pooled``, ``fit_seconds``
    and ``predict_ms`` of the run, and from the uncontended pass ``cost_fit_seconds``, ``predict_ms_p50``,
    ``predict_ms_p95``, ``memory_mb``, ``model_bytes`` (None where not measured).
    """
    main, rank_by = primary(run), rank_by or primary(run)
    higher = TASKS[run["task"]][rank_by].better == "higher"
    rows = []
    costs = _costs(store)
    found = run_query(store, "comparison", [run["cells"]]).to_pylist(maps_as_pydicts="strict")
    if run["protocol"] == "across":  # the other parts of this protocol are told by domain, see `results.across`
        found = [row for row in found if row["size"] == 1.0]
    for row in found:
        scores = row.pop("scores") or {}
        for name in (*TASKS[run["task"]], "fit_seconds", "predict_ms"):
            row[name] = _part(scores.get(name), 0)
        row[f"{main}_sd"], row[f"{main}_pooled"] = (_part(scores.get(main), place) for place in (1, 2))
        cost = costs.get(row.pop("model"), {})
        row["cost_fit_seconds"] = cost.get("fit_seconds")
        rows.append(row | {name: cost.get(name) for name in COSTS})
    return sorted(
        rows,
        key=lambda row: (
            row[rank_by] is None,
            -row["size"],
            _rank(row[rank_by], higher=higher),
            row["backbone"],
            row["head"],
        ),
    )


def _rank(score: float | None, *, higher: bool) -> float:
    """Ascending, best first; scores that differ by rounding errors alone are equal."""
    return round(score or 0.0, 9) * (-1 if higher else 1)


def _part(triple: Any, place: int) -> float | None:
    """One of mean, standard deviation and pooled value."""
    if triple is None:
        return None
    value = list(triple.values())[place] if isinstance(triple, dict) else triple[place]
    return None if value is None or np.isnan(value) else float(value)


def _costs(store: FeatureStore) -> dict[str, dict[str, Any]]:
    if not store.has("bench_costs"):
        return {}
    rows = store.sql("SELECT * FROM bench_costs WHERE message = '' ORDER BY measured_at, fit_seconds").to_pylist()
    return {row["model"]: row for row in rows}


def predictions(store: FeatureStore, run: dict[str, Any]) -> pa.Table:
    """Every out-of-fold probability of a run: backbone, head, repeat, fold, size, seed, ImgId, y, labels, proba."""
    return run_query(store, "predictions", [run["cells"]])


def scores(store: FeatureStore, run: dict[str, Any]) -> pa.Table:
    """Every score of a run in long form: backbone, head, repeat, fold, size, seed, n_train, n_test, metric, score."""
    return run_query(store, "scores", [run["cells"]])
