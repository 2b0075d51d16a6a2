"""The questions that are asked of stored results; every figure of a table or report is answered here, without a fit."""

from importlib.resources import files
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.metrics import METRICS, TASKS
from benchmarks.significance import Results, Row, Scores, annotate
from featurestore import FeatureStore
from featurestore.errors import InputError

COSTS = ("predict_ms_p50", "predict_ms_p95", "memory_mb", "model_bytes", "depends_on_batch")


def _ask(store: FeatureStore, name: str, run_id: str) -> pa.Table:
    return store.sql(files("benchmarks").joinpath(f"sql/{name}.sql").read_text("utf-8"), [run_id])


def runs(store: FeatureStore, *, protocol: str | None = None, canary: bool = False) -> list[dict[str, Any]]:
    """The runs in the store, newest first; those with shuffled labels only when asked for.

    Raises
    ------
    InputError
        When there are none.
    """
    if store.has("bench_runs") and store.has("bench_cells"):
        rows = store.sql("SELECT * FROM bench_runs WHERE canary = ? ORDER BY started_at DESC", [canary]).to_pylist()
        kept = [row for row in rows if protocol in (None, row["protocol"])]
        if kept:
            return kept
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
    for row in _ask(store, "comparison", run["run_id"]).to_pylist(maps_as_pydicts="strict"):
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
    rows = store.sql("SELECT * FROM bench_costs WHERE message = '' ORDER BY measured_at").to_pylist()
    return {row["model"]: row for row in rows}


def predictions(store: FeatureStore, run_id: str) -> pa.Table:
    """Every out-of-fold probability: backbone, head, repeat, fold, size, seed, ImgId, y, labels, proba."""
    return _ask(store, "predictions", run_id)


def scores(store: FeatureStore, run_id: str) -> pa.Table:
    """Every score in long form: backbone, head, repeat, fold, size, seed, n_train, n_test, metric, score."""
    return _ask(store, "scores", run_id)


def compared(store: FeatureStore, run: dict[str, Any]) -> list[dict[str, Any]]:
    """`comparison` with the answers of `significance.annotate` on the rows of the whole training part."""
    rows = comparison(store, run)
    backbone, _, head = (run["reference"] or "").rpartition("/")
    whole = [row for row in rows if row["size"] == 1.0 and row[primary(run)] is not None]
    annotate(whole, split_scores(store, run), reference=(backbone, head) if head else None)
    return rows


def split_scores(store: FeatureStore, run: dict[str, Any]) -> Scores:
    """The primary scores of a run, by row and split, means over the seeds; rows that lack a split are left out."""
    import pandas as pd

    table = scores(store, run["run_id"]).to_pandas()
    table = table[(table["metric"] == primary(run)) & (table["size"] == 1.0)]
    wide = table.pivot_table(index=["backbone", "head"], columns=["repeat", "fold"], values="score", aggfunc="mean")
    wide = wide.loc[:, wide.columns.get_level_values("repeat").isin(_whole_repeats(store, run))].dropna()
    if not wide.size:
        return Scores({}, right={}, test_share=1.0, repeats=1)
    repeats, folds = (wide.columns.unique(level) for level in ("repeat", "fold"))
    # A fold in which every row failed has its place too.
    wide = wide.reindex(columns=pd.MultiIndex.from_product([repeats, folds]))
    shares = (table["n_test"] / table["n_train"]).groupby([table["repeat"], table["fold"]]).mean()
    right, floor = _right(store, run, wide) if run["task"] == "multiclass" else ({}, None)
    return Scores(
        dict(zip(wide.index, wide.to_numpy(float), strict=True)),
        right=right,
        test_share=shares.reindex(wide.columns).to_numpy(float),
        repeats=len(repeats),
        floor=floor,
    )


def _whole_repeats(store: FeatureStore, run: dict[str, Any]) -> list[int]:
    """The repeats of which every cell has been tried: of a run that was cut short only these count."""
    rows = store.sql(
        "SELECT repeat, count(DISTINCT cell) AS cells FROM bench_cells "
        "SEMI JOIN (SELECT unnest(cells) AS cell FROM bench_runs WHERE run_id = ?) USING (cell) GROUP BY repeat",
        [run["run_id"]],
    ).to_pylist()
    repeats = 1 if run["protocol"] == "study" else int(run["repeats"])
    return [row["repeat"] for row in rows if row["cells"] == len(run["cells"]) / repeats]


def _right(store: FeatureStore, run: dict[str, Any], wide: Any) -> tuple[dict[Row, NDArray[np.float64]], Results]:
    """What each row of ``wide`` had right, and what the most frequent class has, as `Scores` takes them.

    Means over the seeds; of a single split the first seed alone, since McNemar's test takes no shares.
    """
    import pandas as pd

    table = _ask(store, "right", run["run_id"]).to_pandas()
    repeats = wide.columns.unique("repeat")
    table = table[table["repeat"].isin(repeats)]
    if wide.shape[1] == 1:
        table = table.drop_duplicates(["backbone", "head", "ImgId"])
    floor = table.drop_duplicates(["repeat", "ImgId"]).assign(backbone="", head="majority")
    floor["correct"] = floor["y"] == int(np.argmax(run["class_counts"]))
    both = pd.concat([table, floor]).astype({"correct": float})
    columns = pd.MultiIndex.from_product([repeats, np.unique(table["ImgId"])], names=["repeat", "ImgId"])
    grid = both.pivot_table(index=["backbone", "head"], columns=["repeat", "ImgId"], values="correct", aggfunc="mean")
    right = {
        row: grid.reindex(columns=columns).loc[row].to_numpy(float).reshape(len(repeats), -1) for row in grid.index
    }
    named = floor.astype({"correct": float}).groupby(["repeat", "fold"])["correct"].mean()
    return right, (named.reindex(wide.columns).to_numpy(float), right.pop(("", "majority")))


def backfill(store: FeatureStore, run: dict[str, Any]) -> int:
    """Score stored predictions by metrics that came later than they did; returns how many scores were added."""
    if run["task"] != "multiclass":
        return 0
    table = scores(store, run["run_id"])
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
