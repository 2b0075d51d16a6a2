"""The comparison table for people and for scripts; reads results, never trains."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.plan.protocols import DEFAULT_REPEATS
from benchmarks.report import formats, shift
from benchmarks.report.claims import best_note, floor_note, floor_score, seen_note
from benchmarks.report.columns import spelled
from benchmarks.results.across import across
from benchmarks.results.compared import Compared, compared, known_metric
from benchmarks.results.read import primary
from benchmarks.results.selection import selected
from benchmarks.scores.inference import MARGIN
from benchmarks.scores.metrics import wilson
from featurestore import FeatureStore, markdown
from featurestore.files import json_object, write_atomic

STUDY_ROWS, STUDY_CLASSES = 811, ("Adventure", "Comedy", "Crime", "Drama")
# How many classes a line of the Markdown report lists; the JSON has all.
LISTED = 10
FORMATS = ("terminal", "markdown", "csv", "latex", "json")


def tables(
    store: FeatureStore,
    *,
    protocols: Sequence[str] = (),
    run_id: str | None = None,
    rank_by: str | None = None,
    repeats: int | None = None,
) -> list[dict[str, Any]]:
    """The comparison rows of each protocol, view and label, or of one run; see `selection.selected`. Ready for JSON.

    Parameters
    ----------
    rank_by
        The metric that rows are ranked and compared by; the first one of a run's task when it has none of that name.

    Raises
    ------
    InputError
        When the store holds no such run, or none of the tables has the metric ``rank_by``.
    """
    found = selected(store, protocols=protocols, run_id=run_id, repeats=repeats)
    known_metric(rank_by, tasks=[run["task"] for run in found])
    return [table_of(store, run, compared(store, run, rank_by=rank_by)) for run in found]


def table_of(store: FeatureStore, run: dict[str, Any], found: Compared) -> dict[str, Any]:
    """The table of one run, as `tables` has it; ``found`` is what its rows are told of their differences."""
    rows = [_with_interval(row, primary(run)) for row in found.rows]
    for row in rows:
        row["published"] = False
        row["synthetic"] = bool(row["synthetic"] or run["synthetic"])
        row.setdefault("in_best_set", False)
    # The published rows are of the study's own images: they are shown only beside as many rows in the same classes.
    if run["protocol"] == "study" and run["n_rows"] == STUDY_ROWS and tuple(run["classes"]) == STUDY_CLASSES:
        rows += published_rows()
    described = {name: run[name] for name in ("run_id", "protocol", "protocol_text", "view", "label", "state_id")}
    described |= {
        name: run[name]
        for name in ("classes", "class_counts", "task", "seed", "seeds", "synthetic", "n_rows", "n_missing", "leaks")
    }
    described |= {
        name: run[name] for name in ("runs", "canary", "folds", "repeats", "n_unlabelled", "n_rare", "n_corrected")
    }
    described |= {"machine": run["machine"], "warnings": run["warnings"], "reference": run["reference"]}
    described |= {"rank_by": found.metric, "margin": MARGIN, "smallest_seen": found.smallest}
    described |= {"factors": asdict(found.factors) if found.factors else None}
    if run["protocol"] == "across":
        names = [(row["backbone"], row["head"]) for row in rows]
        described["across"] = asdict(across(store, run, names))
    return {
        **described,
        "libraries": json_object(run["libraries"], "the record of libraries of the run"),
        "cells": len(run["cells"]),
        "rows": rows,
    }


def _with_interval(row: dict[str, Any], main: str) -> dict[str, Any]:
    """Add the Wilson interval of the accuracy pooled over the distinct test rows; other metrics are no rates."""
    pooled = row.pop(f"{main}_pooled")
    known = main == "accuracy" and pooled is not None
    row["interval"] = list(wilson(pooled * row["n_test"], row["n_test"])) if known else None
    return row


def published_rows() -> list[dict[str, Any]]:
    """The study's own rows, with intervals from their 163 test rows."""
    text = files("benchmarks").joinpath("report/published.csv").read_text("utf-8")
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
            | {"in_best_set": False, "cells": 1, "failed": 0, "failure": None}
            | scores
        )
    return rows


def notes(table: dict[str, Any]) -> list[str]:
    """What a reader must know before believing the table."""
    lines = [
        f"{table['protocol']}: {table['protocol_text']}; {table['n_rows']} rows of {table['view']}, by {table['label']}"
    ]
    if table["synthetic"]:
        lines.append("SYNTHETIC data or weights: these figures say nothing about real images")
    if table.get("canary"):
        lines.append("the labels are shuffled (canary): no row can be better than chance")
    quick = quick_note(table)
    lines += [*([quick] if quick else []), *_left_out(table)]
    lines += shift.notes(table["across"]) if "across" in table else []
    metric = table["rank_by"]
    whole = [row for row in table["rows"] if not row["published"] and row.get("size", 1.0) == 1.0]
    whole = [row for row in whole if row.get(metric) is not None]
    floor = floor_score(table, whole, metric)
    lines += [] if floor is None else [floor_note(table, whole, floor=floor)]
    lines += best_note(whole, metric)
    lines += [*_joined(table), *table["warnings"]]
    named = next((row for row in whole if row.get("reference")), None)
    if named and any(row.get("difference") is not None for row in whole):
        lines.append(f"vs ref.: {spelled(metric)} against {named['backbone']} {named['head']} (R)")
    lines += seen_note(table)
    lines += [
        f"LEAK: what {row['head']} over {row['backbone']} predicts for a row depends on the other rows of its batch"
        for row in table["rows"]
        if row.get("depends_on_batch")
    ]
    return lines + _failures([row for row in table["rows"] if row["failed"]])


def _failures(failed: Sequence[dict[str, Any]]) -> list[str]:
    """Why rows failed: one sentence for those of a head that failed as often for a reason that names no other thing."""
    alike: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in failed:
        reason = str(row["failure"]).replace(repr(row["backbone"]), "")
        alike.setdefault((row["head"], row["failed"], row["cells"], reason), []).append(row)
    return [
        f"{row['backbone']} {row['head']} failed in {row['failed']} of {row['cells']}: {row['failure']}"
        + (f" (likewise over {', '.join(other['backbone'] for other in others)})" if others else "")
        for row, *others in alike.values()
    ]


def quick_note(table: dict[str, Any]) -> str | None:
    """That every row rests on one repeat of folds that could be drawn again; None where one does not, or no row does.

    A quick look is one of ``cv`` and ``nested``: another protocol has one split, or repeats that are no more than two.
    """
    rows = [row for row in table["rows"] if not row["published"] and row.get("splits")]
    if table["protocol"] not in ("cv", "nested") or table.get("canary") or not rows:
        return None
    if max(row["splits"] for row in rows) > table["folds"]:
        return None
    if table["repeats"] > 1:
        return f"a quick look so far: one repeat of {table['repeats']}; the others can change the order of the rows"
    usual = DEFAULT_REPEATS[table["protocol"]]
    return f"a quick look: one repeat of the usual {usual}; without --quick the same command runs them all"


def _left_out(table: dict[str, Any]) -> list[str]:
    """Which rows of the view are not learned from, and why, and how many labels were corrected."""
    lines = []
    if table.get("n_corrected"):
        one = table["n_corrected"] == 1
        what = f"{table['n_corrected']:,} of the {table['n_rows']:,} labels {'is' if one else 'are'} corrected"
        lines.append(f"{what} in the store (`featurestore label list`)")
    if table["n_missing"]:
        lines.append(f"{table['n_missing']} rows of the view are left out: a backbone has no embedding of them")
    if table.get("n_unlabelled"):
        one = table["n_unlabelled"] == 1
        lines.append(
            f"{table['n_unlabelled']} {'row' if one else 'rows'} of the view {'has' if one else 'have'} no "
            f"{table['label']} and {'is' if one else 'are'} left out"
        )
    if table.get("n_rare"):
        lines.append(f"{table['n_rare']} rows of the view are left out: each {table['label']} of theirs is too rare")
    return lines


def _joined(table: dict[str, Any]) -> list[str]:
    """Where the cells of a table come from when one run has not computed them all."""
    lines = []
    if len(table.get("runs", ())) > 1:
        lines.append(
            f"stored cells of {len(table['runs'])} runs over the same folds (`benchmarks runs`; --run shows one alone)"
        )
    splits = {row["splits"] for row in table["rows"] if not row["published"] and row.get("splits")}
    if len(splits) > 1:
        lines.append(
            f"rows have results on {min(splits)} to {max(splits)} splits: two rows are compared over the splits that "
            "both have"
        )
    return lines


def tables_as_text(
    tables_: Sequence[dict[str, Any]],
    form: str,
    *,
    width: int | None = None,
    more: str = formats.MORE_COLUMNS,
    exact: bool = False,
) -> str:
    """Tables as ``terminal``, ``markdown``, ``csv``, ``latex`` or ``json`` text; see `formats.format_tables`."""
    return formats.format_tables(tables_, form, notes, width=width, more=more, exact=exact)


def write_report(tables_: Sequence[dict[str, Any]], path: Path) -> None:
    """Write `tables` with protocol and lineage as Markdown, whole or not at all."""
    parts = ["# Comparison of classifier heads over frozen embeddings"]
    for table in tables_:
        lineage = [
            f"run {', '.join(table['runs'])}, {table['cells']} cells, seed {table['seed']}, "
            f"store state {table['state_id']}",
            f"classes: {', '.join(table['classes'][:LISTED])}"
            + (f" and {len(table['classes']) - LISTED:,} more" if len(table["classes"]) > LISTED else ""),
            f"{table['machine']}; " + ", ".join(f"{name} {number}" for name, number in table["libraries"].items()),
        ]
        lines = "\n".join(f"- {markdown.text(line)}" for line in lineage)
        parts.append(formats.markdown(table, notes(table)) + "\n\n" + lines)
    write_atomic(path, ("\n\n".join(parts) + "\n").encode())
