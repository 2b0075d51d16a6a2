"""What a run of the protocol `across` found: scores of each row by the domain learned from and the domain tested on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.plan.across import EARLIER, ONE, OTHERS
from benchmarks.plan.cells import Plan
from benchmarks.plan.protocols import usable_domains
from benchmarks.results.read import run_query
from benchmarks.results.schemas import ACROSS
from benchmarks.scores.metrics import TASKS
from benchmarks.scores.prior_shift import reweighted
from featurestore import FeatureStore
from featurestore.errors import InputError

# The log loss of probabilities that know the class frequencies of the test rows, see `prior_shift.reweighted`: what is
# left of a loss when the classes being more or less frequent is no longer part of it.
CORRECTED = "log_loss_corrected"
SHOWN = {"multiclass": ("accuracy", "log_loss"), "multilabel": ("map", "f1_micro")}
Row = tuple[str, str]
Scores = dict[str, float]


@dataclass(frozen=True)
class DomainScore:
    """One row of a table tested on one domain.

    ``train_rates`` and ``test_rates`` are the share of each class on either side, ``dropped`` the training rows left
    out since they have a duplicate in the test part; ``scores`` is empty where the head failed.
    """

    domain: str
    n_train: int
    train_rates: list[float]
    dropped: int
    n_test: int
    test_rates: list[float]
    scores: Scores


@dataclass(frozen=True)
class Shift:
    """What one row of a table scores across domains.

    Parameters
    ----------
    others, earlier
        Tested on each domain, learned from all others; learned from all earlier ones, from the second domain on (empty
        where domains have no order).
    matrix
        For each metric a list for each domain learned from, of the score on each domain; None where a fit failed. On
        the diagonal by cross-validation inside the domain; every fit learned from the same share of its domain.
    failed, failure
        How many fits failed, and why the last one did.
    """

    backbone: str
    head: str
    others: list[DomainScore]
    earlier: list[DomainScore]
    matrix: dict[str, list[list[float | None]]]
    failed: int = 0
    failure: str | None = None


@dataclass(frozen=True)
class Across:
    """The whole of a run: the domains of the column ``by``, their rows and class counts, and a `Shift` for each row."""

    by: str
    domains: list[str]
    classes: list[str]
    n_rows: list[int]
    class_counts: list[list[int]]
    left_out: list[str]
    rows: list[Shift] = field(default_factory=list)


def record(run_id: str, plan: Plan) -> pa.Table:
    """What the run is going to compare, as the row of ``bench_across``: views change, this does not."""
    dataset = plan.cells[0].dataset
    found = usable_domains(plan.protocol, dataset)
    codes, splits = found.domains.codes, {cell.split.fold: cell.split for cell in plan.cells}
    described = []
    for fold, split in sorted(splits.items()):
        learned, tested = np.unique(codes[split.train]), np.unique(codes[split.test])
        dropped = 0 if split.kind == ONE else int(np.isin(codes, learned).sum()) - len(split.train)
        described.append(
            {"fold": fold, "kind": split.kind, "learned": learned.tolist(), "tested": tested.tolist()}
            | {"n_train": len(split.train), "dropped": dropped}
            | {"class_counts": dataset.class_counts(split.train).tolist()}
        )
    rows = np.flatnonzero(codes >= 0)
    row = {
        "run_id": run_id,
        "by_column": plan.protocol.by,
        "domains": list(found.domains.names),
        "ordered": found.domains.ordered,
        "class_counts": [
            dataset.class_counts(np.flatnonzero(codes == code)).tolist() for code in range(len(found.domains.names))
        ],
        "left_out": list(found.left_out),
        "ids": dataset.ids[rows].tolist(),
        "domain": codes[rows].tolist(),
        "splits": described,
    }
    return pa.Table.from_pylist([row], schema=ACROSS)


def across(store: FeatureStore, run: Mapping[str, Any], rows: Sequence[Row]) -> Across:
    """The domains of a run, and a `Shift` for each of ``rows``, which are pairs of backbone and head.

    Raises
    ------
    InputError
        When the store does not say what the run compared.
    """
    about = store.sql("SELECT * FROM bench_across WHERE run_id = ? LIMIT 1", [run["run_id"]]).to_pylist()
    if not about:
        raise InputError(f"the table bench_across has no row of the run {run['run_id']!r}: start the run again")
    kept = about[0]
    cells = store.sql(
        "SELECT backbone, head, cell, bool_or(status = 'ok') AS ok, max(message) FILTER (status = 'failed') AS failure "
        "FROM bench_cells WHERE cell IN (SELECT unnest(?)) GROUP BY ALL ORDER BY backbone, head, cell",
        [list(run["cells"])],
    ).to_pylist()
    found = []
    for row in rows:
        mine = [cell for cell in cells if (cell["backbone"], cell["head"]) == row]
        failures = [cell["failure"] for cell in mine if not cell["ok"]]
        predicted = _predicted(store, [cell["cell"] for cell in mine if cell["ok"]], kept, run)
        found.append(
            Shift(
                *row,
                _by_domain(OTHERS, predicted, kept, run["task"]),
                _by_domain(EARLIER, predicted, kept, run["task"]),
                _matrix(predicted, kept, run["task"]),
                len(failures),
                max(failures, default=None),
            )
        )
    sizes = np.bincount(kept["domain"], minlength=len(kept["domains"])).tolist()
    described = (kept["by_column"], kept["domains"], list(run["classes"]), sizes, kept["class_counts"])
    return Across(*described, kept["left_out"], found)


@dataclass(frozen=True)
class _Predicted:
    """Test rows of one row of the table: split, place of the domain, class (or labels) and probabilities of each."""

    fold: NDArray[np.int64]
    domain: NDArray[np.int64]
    y: NDArray[np.int64]
    proba: NDArray[np.float64]


def _predicted(
    store: FeatureStore, cells: Sequence[str], kept: Mapping[str, Any], run: Mapping[str, Any]
) -> _Predicted:
    """Every prediction of ``cells``; of a head that is random those of all seeds."""
    table, classes = run_query(store, "predictions", [list(cells)]), len(run["classes"])
    # The ids are ascending, but for those of images that the store was made to forget.
    there = [row for row, number in enumerate(kept["ids"]) if number is not None]
    place = np.searchsorted([kept["ids"][row] for row in there], table["ImgId"].to_numpy())
    domain = np.array(kept["domain"], np.int64)[there][place]
    y = table["y"].to_numpy().astype(np.int64)
    if run["task"] == "multilabel":
        y = np.zeros((len(table), classes), np.int64)
        for number, labels in enumerate(table["labels"].to_pylist()):
            y[number, labels] = 1
    proba = table["proba"].combine_chunks().flatten().to_numpy().astype(np.float64).reshape(-1, classes)
    return _Predicted(table["fold"].to_numpy().astype(np.int64), domain, y, proba)


def _by_domain(kind: str, predicted: _Predicted, kept: Mapping[str, Any], task: str) -> list[DomainScore]:
    splits = [split for split in kept["splits"] if split["kind"] == kind]
    if kind == EARLIER and kept["ordered"]:
        # All others of the last domain are all earlier ones.
        splits.append([split for split in kept["splits"] if split["kind"] == OTHERS][-1])
    found = []
    for split in splits:
        (tested,) = split["tested"]
        rows, n_test = predicted.fold == split["fold"], kept["domain"].count(tested)
        found.append(
            DomainScore(
                kept["domains"][tested],
                split["n_train"],
                _rates(split["class_counts"], split["n_train"]),
                split["dropped"],
                n_test,
                _rates(kept["class_counts"][tested], n_test),
                _scores(predicted, rows, [split], task),
            )
        )
    return found


def _matrix(predicted: _Predicted, kept: Mapping[str, Any], task: str) -> dict[str, list[list[float | None]]]:
    places = range(len(kept["domains"]))
    names = (*SHOWN[task], CORRECTED) if task == "multiclass" else SHOWN[task]
    found: dict[str, list[list[float | None]]] = {name: [] for name in names}
    for learned in places:
        splits = [split for split in kept["splits"] if split["kind"] == ONE and split["learned"] == [learned]]
        within = np.isin(predicted.fold, [split["fold"] for split in splits])
        whole = len(np.unique(predicted.fold[within])) == len(splits)
        line = [_scores(predicted, within & (predicted.domain == tested), splits, task) for tested in places]
        for name in names:
            found[name].append([scores.get(name) if whole else None for scores in line])
    return found


def _scores(predicted: _Predicted, rows: NDArray[np.bool_], splits: Sequence[Mapping[str, Any]], task: str) -> Scores:
    """The scores of some rows, which these splits predicted; empty where there are none."""
    if not rows.any():
        return {}
    y, proba = predicted.y[rows], predicted.proba[rows]
    scores = {name: TASKS[task][name].function(y, proba) for name in SHOWN[task]}
    if task == "multiclass":
        rates = {split["fold"]: _rates(split["class_counts"], split["n_train"]) for split in splits}
        learned = np.array([rates[fold] for fold in predicted.fold[rows].tolist()])
        there = np.bincount(y, minlength=proba.shape[1]) / len(y)
        known = reweighted(proba, learned=learned, there=there)
        scores[CORRECTED] = TASKS[task]["log_loss"].function(y, known)
    return scores


def _rates(counts: Sequence[int], rows: int) -> list[float]:
    return [count / rows for count in counts]
