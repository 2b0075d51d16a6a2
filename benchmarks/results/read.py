"""Queries over stored results: every figure of a table or report comes from here; nothing is fitted."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.plan.protocols import ONE_SPLIT
from benchmarks.scores.metrics import TASKS
from benchmarks.scores.significance import Results, Row, Scores, annotate
from featurestore import FeatureStore
from featurestore.errors import InputError

COSTS = ("predict_ms_p50", "predict_ms_p95", "memory_mb", "model_bytes", "depends_on_batch")


# Runs from before `bench_run_details`: what is known of them without it.
NO_DETAILS = "2 AS bench_version, NULL AS labels_hash, NULL AS n_unlabelled, NULL AS n_rare, false AS reference_named"
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
    detailed = store.has("bench_run_details")
    rows = store.sql(
        f"SELECT bench_runs.*, {DETAILS if detailed else NO_DETAILS} FROM bench_runs "
        f"{'LEFT JOIN bench_run_details USING (run_id)' if detailed else ''} ORDER BY started_at DESC, run_id DESC"
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
    for row in run_query(store, "comparison", [run["cells"]]).to_pylist(maps_as_pydicts="strict"):
        scores = row.pop("scores") or {}
        for name in (*TASKS[run["task"]], "fit_seconds", "predict_ms"):
            row[name] = _part(scores.get(name), 0)
        row[f"{main}_sd"], row[f"{main}_pooled"] = (_part(scores.get(main), place) for place in (1, 2))
        cost = costs.get(row.pop("model"), {})
        row["cost_fit_seconds"] = cost.get("fit_seconds")
        rows.append(row | {name: cost.get(name) for name in COSTS})
    return sorted(
        rows, key=lambda row: (row[main] is None, -row["size"], _rank(row[main]), row["backbone"], row["head"])
    )


def _rank(score: float | None) -> float:
    """Ascending, best first; scores that differ by rounding errors alone are equal."""
    return -round(score or 0.0, 9)


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


def compared(store: FeatureStore, run: dict[str, Any]) -> list[dict[str, Any]]:
    """`comparison` with the tests of `significance.annotate` on the rows of the whole training part."""
    rows = comparison(store, run)
    backbone, _, head = (run["reference"] or "").rpartition("/")
    whole = [row for row in rows if row["size"] == 1.0 and row[primary(run)] is not None]
    annotate(whole, split_scores(store, run), reference=(backbone, head) if head else None)
    return rows


def split_scores(store: FeatureStore, run: dict[str, Any]) -> Scores:
    """The primary scores of a run, by row and split, means over the seeds; NaN where a row lacks a split.

    Only whole repeats count: those of which every cell has been tried, and of a row those without a failure.
    """
    import pandas as pd

    whole = _whole(store, run)
    table = scores(store, run).to_pandas()
    table = table[(table["metric"] == primary(run)) & (table["size"] == 1.0) & table["cell"].isin(whole)]
    wide = table.pivot_table(index=["backbone", "head"], columns=["repeat", "fold"], values="score", aggfunc="mean")
    in_repeat = wide.T.groupby(level="repeat").transform("count").T
    wide = wide.where(in_repeat.eq(1 if run["protocol"] in ONE_SPLIT else int(run["folds"])))
    wide = wide.dropna(how="all").dropna(axis=1, how="all")
    if not wide.size:
        return Scores({}, right={}, test_share=1.0, repeats=1)
    repeats, folds = (wide.columns.unique(level) for level in ("repeat", "fold"))
    wide = wide.reindex(columns=pd.MultiIndex.from_product([repeats, folds]))
    shares = (table["n_test"] / table["n_train"]).groupby([table["repeat"], table["fold"]]).mean()
    right, floor = _right(store, run, whole, wide) if run["task"] == "multiclass" else ({}, None)
    return Scores(
        dict(zip(wide.index, wide.to_numpy(float), strict=True)),
        right=right,
        test_share=shares.reindex(wide.columns).to_numpy(float),
        repeats=len(repeats),
        floor=floor,
    )


def _whole(store: FeatureStore, run: dict[str, Any]) -> list[str]:
    """The cells of whole repeats: of a run that was cut short only these count."""
    tried = run_query(store, "whole", [sorted(ONE_SPLIT), run.get("peers", [run["run_id"]])])["cell"].to_pylist()
    return sorted(set(tried).intersection(run["cells"]))


def _right(
    store: FeatureStore, run: dict[str, Any], cells: Sequence[str], wide: Any
) -> tuple[dict[Row, NDArray[np.float64]], Results]:
    """What each row of ``wide`` had right on its splits, and what the most frequent class has, as `Scores` takes them.

    Means over the seeds; of a single split the first seed alone, since McNemar's test takes no shares.
    """
    import pandas as pd

    table = run_query(store, "right", [cells]).to_pandas()
    repeats = wide.columns.unique("repeat")
    table = table[table["repeat"].isin(repeats)]
    if wide.shape[1] == 1:
        table = table.drop_duplicates(["backbone", "head", "ImgId"])
    floor = table.drop_duplicates(["repeat", "ImgId"]).assign(backbone="", head="majority")
    floor["correct"] = floor["y"] == int(np.argmax(run["class_counts"]))
    both = pd.concat([table, floor]).astype({"correct": float})
    columns = pd.MultiIndex.from_product([repeats, np.unique(table["ImgId"])], names=["repeat", "ImgId"])
    grid = both.pivot_table(index=["backbone", "head"], columns=["repeat", "ImgId"], values="correct", aggfunc="mean")
    grid = grid.reindex(columns=columns)
    named = floor.astype({"correct": float}).groupby(["repeat", "fold"])["correct"].mean()
    most_frequent = grid.loc[("", "majority")].to_numpy(float).reshape(len(repeats), -1)
    right = {}
    for row, scored in wide.iterrows():
        # A repeat in which a fold failed has no score, so that its other folds must not count either.
        counts = scored.notna().to_numpy().reshape(len(repeats), -1).all(axis=1, keepdims=True)
        right[row] = np.where(counts, grid.loc[row].to_numpy(float).reshape(len(repeats), -1), np.nan)
    return right, (named.reindex(wide.columns).to_numpy(float), most_frequent)
