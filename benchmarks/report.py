"""The comparison table for people and for scripts; reads results, never trains."""

import csv
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.metrics import wilson
from benchmarks.queries import compared, primary, runs
from benchmarks.significance import ROPE
from featurestore import FeatureStore
from featurestore._optional import import_extra

STUDY_ROWS, STUDY_CLASSES = 811, ("Adventure", "Comedy", "Crime", "Drama")
FORMATS = ("terminal", "markdown", "csv", "json")
# Column, heading, digits.
COLUMNS = (
    ("accuracy", "accuracy", 3),
    ("interval", "95 % interval", 3),
    ("accuracy_sd", "sd", 3),
    ("balanced_accuracy", "balanced", 3),
    ("precision_weighted", "precision", 3),
    ("recall_weighted", "recall", 3),
    ("f1_weighted", "F1", 3),
    ("f1_macro", "macro-F1", 3),
    ("log_loss", "log loss", 3),
    ("fit_seconds", "fit s", 2),
    ("predict_ms", "predict ms", 3),
)


def tables(store: FeatureStore, *, protocols: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The newest run of each protocol with its comparison rows, ready for JSON.

    Raises
    ------
    InputError
        When the store holds no such run.
    """
    names = list(protocols) or list(dict.fromkeys(run["protocol"] for run in runs(store)))
    return [_table(store, runs(store, protocol=name)[0]) for name in names]


def _table(store: FeatureStore, run: dict[str, Any]) -> dict[str, Any]:
    rows = [_with_interval(row, primary(run)) for row in compared(store, run)]
    for row in rows:
        row["published"] = False
        row.setdefault("tied_with_best", False)
    # The published rows are of other films, but of as many, in the same classes: elsewhere they would mislead.
    if run["protocol"] == "study" and run["n_rows"] == STUDY_ROWS and tuple(run["classes"]) == STUDY_CLASSES:
        rows += published_rows()
    described = {name: run[name] for name in ("run_id", "protocol", "protocol_text", "view", "label", "state_id")}
    described |= {
        name: run[name]
        for name in ("classes", "class_counts", "task", "seed", "seeds", "synthetic", "n_rows", "n_missing", "leaks")
    }
    described |= {"machine": run["machine"], "warnings": run["warnings"], "reference": run["reference"], "rope": ROPE}
    return {**described, "libraries": json.loads(run["libraries"]), "cells": len(run["cells"]), "rows": rows}


def _with_interval(row: dict[str, Any], main: str) -> dict[str, Any]:
    """Add the Wilson interval of the accuracy pooled over the distinct test rows; other metrics are no rates."""
    pooled = row.pop(f"{main}_pooled")
    known = main == "accuracy" and pooled is not None
    row["interval"] = list(wilson(pooled * row["n_test"], row["n_test"])) if known else None
    return row


def published_rows() -> list[dict[str, Any]]:
    """The study's own rows, with intervals from their 163 test rows."""
    text = files("benchmarks").joinpath("published.csv").read_text("utf-8")
    rows: list[dict[str, Any]] = []
    for record in csv.DictReader(io.StringIO(text)):
        n_test = int(record["n_test"])
        scores = {name: float(value) for name, value in record.items() if name not in ("model", "n_test") and value}
        interval = list(wilson(scores["accuracy"] * n_test, n_test))
        rows.append(
            {
                "backbone": "published",
                "head": record["model"],
                "n_test": n_test,
                "published": True,
                "interval": interval,
            }
            | {"tied_with_best": False, "cells": 1, "failed": 0, "failure": None}
            | scores
        )
    return rows


def notes(table: dict[str, Any]) -> list[str]:
    """What a reader must know before believing the table."""
    lines = [
        f"{table['protocol']}: {table['protocol_text']}; {table['n_rows']} rows of {table['view']}, by {table['label']}"
    ]
    if table["synthetic"]:
        lines.append("SYNTHETIC data or weights: these figures say nothing about real posters")
    if table["n_missing"]:
        lines.append(f"{table['n_missing']} rows of the view are left out: a backbone has no embedding of them")
    tied = [row for row in table["rows"] if row["tied_with_best"]]
    if len(tied) > 1:
        lines.append(
            f"{len(tied)} rows (≈) can't be told from the best (corrected resampled t-test, Holm over all pairs)"
        )
    lines += table["warnings"]
    failed = [row for row in table["rows"] if row["failed"]]
    lines += [
        f"{row['backbone']} {row['head']} failed in {row['failed']} of {row['cells']}: {row['failure']}"
        for row in failed
    ]
    return lines


def render(tables_: Sequence[dict[str, Any]], form: str) -> str:
    """Tables as ``terminal``, ``markdown``, ``csv`` or ``json`` text."""
    if form == "json":
        return json.dumps(list(tables_), indent=1, default=str)
    if form == "csv":
        return _csv(tables_)
    write = _terminal if form == "terminal" else _markdown
    return "\n\n".join(write(table) for table in tables_)


def _value(row: dict[str, Any], column: str, digits: int) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, list):
        return f"{value[0]:.{digits}f} – {value[1]:.{digits}f}"
    return f"{value:.{digits}f}"


def _mark(row: dict[str, Any]) -> str:
    if row.get("accuracy") is None:
        return "failed"
    return "≈" if row["tied_with_best"] else ""


def _cells(row: dict[str, Any]) -> list[str]:
    return [row["backbone"], row["head"], _mark(row), *(_value(row, name, digits) for name, _, digits in COLUMNS)]


def _headings() -> list[str]:
    return ["backbone", "head", "", *(heading for _, heading, _ in COLUMNS)]


def _terminal(table: dict[str, Any]) -> str:
    rich = import_extra("rich.console", "bench", needed_by="a table on the terminal")
    grid = import_extra("rich.table", "bench", needed_by="a table on the terminal").Table(
        title=notes(table)[0], title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    for heading in _headings():
        grid.add_column(heading, justify="left" if heading in ("backbone", "head", "") else "right", no_wrap=True)
    for row in table["rows"]:
        grid.add_row(*_cells(row), style="dim" if row["published"] else None)
    # A table is read as a whole: let it be as wide as it is, also in a log or a pipe.
    text = io.StringIO()
    rich.Console(file=text, width=200, force_terminal=False).print(grid)
    lines = [line.rstrip() for line in text.getvalue().rstrip().splitlines()]
    return "\n".join([*lines, *notes(table)[1:]])


def _markdown(table: dict[str, Any]) -> str:
    headings = _headings()
    lines = [f"**{notes(table)[0]}**", "", "| " + " | ".join(headings) + " |"]
    lines.append("|" + "|".join("---" if h in ("backbone", "head", "") else "--:" for h in headings) + "|")
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in table["rows"]]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(table)[1:])]).rstrip()


def _csv(tables_: Sequence[dict[str, Any]]) -> str:
    sink = io.StringIO()
    names = [
        "protocol",
        "backbone",
        "head",
        "published",
        "synthetic",
        "n_test",
        "failed",
        "tied_with_best",
        "low",
        "high",
    ]
    scores = [name for name, _, _ in COLUMNS if name != "interval"]
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([*names, *scores])
    for table in tables_:
        for row in table["rows"]:
            low, high = row["interval"] or (None, None)
            full = {**row, "protocol": table["protocol"], "synthetic": table["synthetic"], "low": low, "high": high}
            writer.writerow([full.get(name) for name in (*names, *scores)])
    return sink.getvalue().rstrip()


def write_report(store: FeatureStore, path: Path) -> None:
    """Write the newest tables with protocol and lineage as Markdown."""
    parts = ["# Comparison of classifier heads over frozen embeddings"]
    for table in tables(store):
        lineage = [
            f"- run `{table['run_id']}`, {table['cells']} cells, seed {table['seed']}, "
            f"store state `{table['state_id']}`",
            f"- classes: {', '.join(table['classes'])}",
            f"- {table['machine']}; " + ", ".join(f"{name} {number}" for name, number in table["libraries"].items()),
        ]
        parts.append(_markdown(table) + "\n\n" + "\n".join(lineage))
    path.write_text("\n\n".join(parts) + "\n", "utf-8")
