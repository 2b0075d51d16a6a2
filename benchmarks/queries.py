"""The questions that are asked of stored results; every figure of a table or report is answered here, without a fit."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.metrics import METRICS, TASKS
from benchmarks.significance import Scores, annotate
from featurestore import FeatureStore
from featurestore.errors import InputError

COSTS = ("predict_ms_p50", "predict_ms_p95", "memory_mb", "model_bytes", "depends_on_batch")


# Runs from before `bench_run_details`: what is known of them without it.
NO_DETAILS = "2 AS bench_version, NULL AS labels_hash, NULL AS n_unlabelled, NULL AS n_rare, false AS reference_named"
DETAILS = """coalesce(bench_version, 2) AS bench_version, labels_hash, n_unlabelled, n_rare,
    coalesce(reference_named, false) AS reference_named"""


def ask(store: FeatureStore, name: str, parameters: Sequence[object] | None = None) -> pa.Table:
    """The answer to the question in ``sql/<name>.sql``."""
    return store.sql(files("benchmarks").joinpath(f"sql/{name}.sql").read_text("utf-8"), parameters)


def stored_runs(
    store: FeatureStore, *, protocol: str | None = None, canary: bool | None = False
) -> list[dict[str, Any]]:
    """The runs in the store, newest first; those with shuffled labels only when asked for, with None all."""
    if not (store.has("bench_runs") and store.has("bench_cells")):
        return []
    detailed = store.has("bench_run_details")
    rows = store.sql(
        f"SELECT bench_runs.*, {DETAILS if detailed else NO_DETAILS} FROM bench_runs "
        f"{'LEFT JOIN bench_run_details USING (run_id)' if detailed else ''} ORDER BY started_at DESC"
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
    raise InputError(f"the store {str(store.path)!r} holds no {what}: start one with `benchmarks run`")


def primary(run: dict[str, Any]) -> str:
    """The metric that the rows of a run are ranked and tested by."""
    return next(iter(TASKS[run["task"]]))


def comparison(store: FeatureStore, run: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per backbone, head and training size: best first, whole training part before shares, failed rows last.

    Each holds every metric of the task (means over the cells), ``<primary>_sd``, ``<primary>_pooled``, ``fit_seconds``
    and ``predict_ms`` of the run, and from the uncontended pass ``cost_fit_seconds``, ``predict_ms_p50``,
    ``predict_ms_p95``, ``memory_mb``, ``model_bytes`` (None where not measured).
    """
    main = primary(run)
    rows = []
    costs = _costs(store)
    for row in ask(store, "comparison", [run["cells"]]).to_pylist(maps_as_pydicts="strict"):
        scores = row.pop("scores") or {}
        for name in (*TASKS[run["task"]], "fit_seconds", "predict_ms"):
            row[name] = _part(scores.get(name), 0)
        row[f"{main}_sd"], row[f"{main}_pooled"] = (_part(scores.get(main), place) for place in (1, 2))
        cost = costs.get(row.pop("model"), {})
        row["cost_fit_seconds"] = cost.get("fit_seconds")
        rows.append(row | {name: cost.get(name) for name in COSTS})
    return sorted(
        rows, key=lambda row: (row[main] is None, -row["size"], -(row[main] or 0), row["backbone"], row["head"])
    )


def _part(triple: Any, place: int) -> float | None:
    """One of mean, standard deviation and pooled value."""
    if triple is None:
        return None
    value = list(triple.values())[place] if isinstance(triple, dict) else triple[place]
    return None if value is None or np.isnan(value) else float(value)


def _costs(store: FeatureStore) -> dict[str, dict[str, Any]]:
    if not store.has("bench_costs"):
        return {}
    rows = store.sql("SELECT * FROM bench_costs WHERE message = '' ORDER BY measured_at").to_pylist()
    return {row["model"]: row for row in rows}


def predictions(store: FeatureStore, run: dict[str, Any]) -> pa.Table:
    """Every out-of-fold probability of a run: backbone, head, repeat, fold, size, seed, ImgId, y, labels, proba."""
    return ask(store, "predictions", [run["cells"]])


def scores(store: FeatureStore, run: dict[str, Any]) -> pa.Table:
    """Every score of a run in long form: backbone, head, repeat, fold, size, seed, n_train, n_test, metric, score."""
    return ask(store, "scores", [run["cells"]])


def compared(store: FeatureStore, run: dict[str, Any]) -> list[dict[str, Any]]:
    """`comparison` with the answers of `significance.annotate` on the rows of the whole training part."""
    rows = comparison(store, run)
    backbone, _, head = (run["reference"] or "").rpartition("/")
    whole = [row for row in rows if row["size"] == 1.0 and row[primary(run)] is not None]
    annotate(whole, split_scores(store, run), reference=(backbone, head) if head else None)
    return rows


def split_scores(store: FeatureStore, run: dict[str, Any]) -> Scores:
    """The primary scores of a run, by row and split, means over the seeds; NaN where a row lacks a split.

    Only whole repeats count: those of which every cell has been tried, and of a row those without a failure.
    """
    table = scores(store, run).to_pandas()
    table = table[(table["metric"] == primary(run)) & (table["size"] == 1.0) & table["cell"].isin(_whole(store, run))]
    wide = table.pivot_table(index=["backbone", "head"], columns=["repeat", "fold"], values="score", aggfunc="mean")
    in_repeat = wide.T.groupby(level="repeat").transform("count").T
    wide = wide.where(in_repeat.eq(_folds(run)))
    wide = wide.dropna(how="all").dropna(axis=1, how="all")
    share = float((table["n_test"] / table["n_train"]).mean()) if len(table) else 1.0
    splits = {(str(backbone), str(head)): row.to_numpy(float) for (backbone, head), row in wide.iterrows()}
    right = _right(store, run) if wide.shape[1] == 1 and run["task"] == "multiclass" else {}
    repeats = int(wide.columns.get_level_values(0).nunique()) if len(wide) else 1
    return Scores(splits, right=right, test_share=share, repeats=repeats)


def _folds(run: dict[str, Any]) -> int:
    return 1 if run["protocol"] == "study" else int(run["folds"])


def _whole(store: FeatureStore, run: dict[str, Any]) -> list[str]:
    """The cells of whole repeats: of a run that was cut short only these count."""
    tried = ask(store, "whole", [run.get("peers", [run["run_id"]])])["cell"].to_pylist()
    return sorted(set(tried).intersection(run["cells"]))


def _right(store: FeatureStore, run: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Which test rows each head had right, in one order; with several seeds those of the first."""
    table = predictions(store, run).to_pandas()
    table = table[(table["size"] == 1.0)].sort_values(["seed", "ImgId"])
    table = table.drop_duplicates(["backbone", "head", "ImgId"])
    table["right"] = [int(np.argmax(proba)) == y for proba, y in zip(table["proba"], table["y"], strict=True)]
    return {
        (str(backbone), str(head)): rows.sort_values("ImgId")["right"].to_numpy(bool)
        for (backbone, head), rows in table.groupby(["backbone", "head"])
    }


def backfill(store: FeatureStore, run: dict[str, Any]) -> int:
    """Score stored predictions by metrics that came later than they did; returns how many scores were added."""
    if run["task"] != "multiclass":
        return 0
    table = scores(store, run)
    have = {(row["cell"], row["metric"]) for row in table.select(["cell", "metric"]).to_pylist()}
    cells = sorted({cell for cell, _ in have})
    lacking = [(cell, name) for cell in cells for name in METRICS if (cell, name) not in have]
    if not lacking:
        return 0
    found = store.sql(
        "SELECT cell, list(y ORDER BY ImgId) AS y, list(proba ORDER BY ImgId) AS proba FROM bench_predictions "
        "WHERE cell IN (SELECT unnest(?)) GROUP BY cell",
        [sorted({cell for cell, _ in lacking})],
    ).to_pylist()
    by_cell = {row["cell"]: (np.array(row["y"]), np.array(row["proba"], np.float32)) for row in found}
    rows = [{"cell": cell, "metric": name, "score": METRICS[name].function(*by_cell[cell])} for cell, name in lacking]
    from benchmarks.schemas import SCORES

    store.append({"bench_scores": pa.Table.from_pylist(rows, schema=SCORES)})
    return len(rows)
