"""The report for people: one HTML file that needs no network; it asks stored results and never trains."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from benchmarks.report import charts as plots
from benchmarks.report import formats
from benchmarks.report.claims import answer, floor_score
from benchmarks.report.gallery import cards
from benchmarks.report.tables import notes, quick_note
from benchmarks.results.breakdown import Row, RowPredictions, rows_of, verdicts
from benchmarks.results.read import primary
from benchmarks.results.selection import selected
from featurestore import FeatureStore
from featurestore._optional import import_extra
from featurestore.files import write_atomic

# How many rows are looked at in detail, and how many images are shown of each kind.
DETAILED, SHOWN = 3, 12
TITLES = {
    "cv": "Cross-validation",
    "nested": "Nested cross-validation",
    "study": "The study's split",
    "given": "The given split",
    "learning-curve": "Learning curve",
}


def write_html(store: FeatureStore, tables: Sequence[dict[str, Any]], path: Path, *, run_id: str | None = None) -> None:
    """Write `report.tables` of ``store``, all or those of one run, with charts and images as one page."""
    jinja = import_extra("jinja2", "bench", needed_by="the HTML report")
    environment = jinja.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        files("benchmarks").joinpath("report/templates/report.html.j2").read_text("utf-8")
    )
    by_id = {run["run_id"]: run for run in selected(store, run_id=run_id)}
    # The main task first, each in the order of TITLES.
    order = list(TITLES)
    shown = sorted(tables, key=lambda table: (table["view"] != "labeled", order.index(table["protocol"])))
    sections = [_section(store, table, by_id[table["run_id"]]) for table in shown]
    synthetic = any(section["synthetic"] for section in sections)
    write_atomic(path, template.render(sections=sections, synthetic=synthetic).encode())


def _section(store: FeatureStore, table: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """Everything that the template shows of one run, ready to print."""
    metric = primary(run)
    whole = [row for row in table["rows"] if row.get("size", 1.0) == 1.0 and row.get(metric) is not None]
    mine = [row for row in whole if not row["published"]]
    floor = floor_score(table, mine, metric)
    title = TITLES[table["protocol"]] + ("" if table["view"] == "labeled" else f": {table['label']} of {table['view']}")
    title += ", labels shuffled" if run["canary"] else ", a quick look" if quick_note(table) else ""
    curve = table["protocol"] == "learning-curve"
    predicted = {} if curve or run["task"] != "multiclass" else rows_of(store, run)
    warnings = [note for note in notes(table) if note in table["warnings"] or note.startswith("LEAK")]
    return {
        "id": table["run_id"],
        "title": title,
        "answer": answer(table, mine, floor=floor, metric=metric),
        "warnings": warnings,
        "notes": [note for note in notes(table)[1:] if note not in warnings and not note.startswith("SYNTHETIC")],
        "synthetic": table["synthetic"] or any(row.get("synthetic") for row in mine),
        "scores": _grid(table, scored(table), title=title),
        "costs": None if curve else _grid({**table, "rows": mine}, COST, title="What it costs"),
        "charts": _charts(run, table, predicted, whole, mine, floor, metric),
        "galleries": _galleries(store, run, predicted) if predicted else [],
        "protocol": table["protocol_text"],
        "lineage": _lineage(store, table, run),
    }


# First what the run itself took on shared cores, then what the cost pass measured with the machine to itself.
COST: tuple[formats.Column, ...] = (
    ("fit_seconds", "fit s, in the run", ".2f"),
    ("predict_ms", "predict ms a row", ".3f"),
    ("cost_fit_seconds", "fit s, alone", ".2f"),
    ("predict_ms_p50", "single row ms, p50", ".2f"),
    ("predict_ms_p95", "p95", ".2f"),
    ("memory_mb", "memory MB", ".0f"),
    ("model_mb", "model MB", ".2f"),
)


def scored(table: dict[str, Any]) -> tuple[formats.Column, ...]:
    """The columns of the first table: all scores, and what is believed of the difference from the reference."""
    shown = [column for column in formats.COLUMNS[table["task"]] if column not in formats.SPEED]
    beliefs = ("beliefs", "P better/equal/worse", ".2f")
    place = shown.index(formats.TESTED[-1]) + 1
    return (*shown[:place], beliefs, *shown[place:])


def _grid(table: dict[str, Any], columns: Sequence[formats.Column], *, title: str) -> dict[str, Any]:
    """A table ready to print, its rows named by head, backbone and marks; columns without a figure are left out."""
    full = [_with_derived(row) for row in table["rows"]]
    columns = [column for column in columns if any(row.get(column[0]) is not None for row in full)]
    rows = []
    for row in full:
        cells = [formats.value(row, name, form) for name, _, form in columns]
        extent = formats.extent(table, row)
        share = f", {extent['share']} of the training part" if "share" in extent else ""
        share += f", {extent['cells']} cells" if extent.get("cells") else ""
        mark = ", SYNTHETIC" if row.get("synthetic") else ""
        rows.append(
            {
                "head": row["head"],
                "sign": formats.signs(row),
                "under": f"{row['backbone']}{share}{mark}",
                "cells": cells,
                "published": row["published"],
                "tied": row["tied_with_best"],
            }
        )
    return {"title": title, "headings": [heading for _, heading, _ in columns], "rows": rows}


def _with_derived(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what several of its figures make together, or in another unit."""
    beliefs = [row.get(name) for name in ("p_better", "p_equal", "p_worse")]
    size = row.get("model_bytes")
    return row | {
        "beliefs": None if None in beliefs else beliefs,
        "model_mb": None if size is None else size / 1e6,
    }


def _charts(
    run: dict[str, Any],
    table: dict[str, Any],
    predicted: dict[Row, RowPredictions],
    whole: list[dict[str, Any]],
    mine: list[dict[str, Any]],
    floor: float | None,
    metric: str,
) -> list[dict[str, Any]]:
    """Title, caption and SVG of each chart that the run has figures for."""
    if not mine:
        return []
    if table["protocol"] == "learning-curve":
        rows = [row for row in table["rows"] if row.get(metric) is not None]
        caption = "Mean over the test folds; each smaller training part lies within the larger ones."
        return [_chart("Score by number of training rows", caption, plots.learning_curves(rows, metric=metric))]
    found = []
    if run["task"] == "multiclass":
        compared = (
            "Filled: not significantly different from the highest row. Hollow: significantly different, or not tested. "
        )
        caption = f"{compared if len(mine) > 1 else ''}Dashed: the most frequent class alone."
        found.append(_chart("Accuracy with intervals", caption, plots.intervals(whole, majority=floor)))
    caption = "Up and to the left is better. Fits measured one at a time where the cost pass ran, else during the run."
    found.append(
        _chart("Score against cost", caption, plots.cost([r for r in mine if r["head"] != "majority"], metric=metric))
    )
    if run["task"] != "multiclass":
        return found
    names = [(row["backbone"], row["head"]) for row in mine if row["head"] != "majority"][:DETAILED]
    detailed = {
        f"{head} · {backbone}": predicted[backbone, head] for backbone, head in names if (backbone, head) in predicted
    }
    if detailed:
        classes = run["classes"]
        found += [
            _chart(
                "Classes",
                "Number of different images in brackets; every out-of-fold prediction counts.",
                plots.per_class({name: one.per_class for name, one in detailed.items()}, classes),
            ),
            _chart(
                "Confusion",
                "Rows sum to 100 per cent.",
                plots.confusions({name: one.confusion for name, one in detailed.items()}, classes),
            ),
            _chart(
                "Calibration",
                "On the dashed line a probability of 0.6 is right in 60\u00a0% of cases; below, the head is too sure.",
                plots.calibration({name: one.reliability for name, one in detailed.items()}),
            ),
        ]
    return found


def _chart(title: str, caption: str, panels: Sequence[str]) -> dict[str, Any]:
    return {"title": title, "caption": caption, "panels": panels}


def _galleries(store: FeatureStore, run: dict[str, Any], predicted: dict[Row, RowPredictions]) -> list[dict[str, Any]]:
    judged = verdicts(predicted)
    return [
        {"title": "Predicted wrongly by most heads", "cards": cards(store, judged, run["classes"], most=SHOWN)},
        {"title": "Predicted correctly by most heads", "cards": cards(store, judged[::-1], run["classes"], most=SHOWN)},
    ]


def _lineage(store: FeatureStore, table: dict[str, Any], run: dict[str, Any]) -> list[tuple[str, str]]:
    revisions = {info.name: info for info in store.backbones()}
    used = dict.fromkeys(name for row in table["rows"] if not row["published"] for name in row["backbone"].split("+"))
    backbones = [
        f"{name} revision {revisions[name].revision} ({revisions[name].source or revisions[name].weights}"
        f"{', SYNTHETIC' if revisions[name].synthetic else ''})"
        for name in used
        if name in revisions
    ]
    counts = ", ".join(f"{name} {n}" for name, n in zip(run["classes"], run["class_counts"], strict=True))
    return [
        ("run", f"{', '.join(run['runs'])}; {len(run['cells'])} cells, seed {run['seed']}, {run['seeds']} per split"),
        ("store state", str(run["state_id"])),
        ("view", f"{run['view']}, label {run['label']}: {counts}"),
        ("backbones, current revisions", "; ".join(backbones)),
        ("reference", str(run["reference"])),
        ("machine", str(run["machine"])),
        ("libraries", ", ".join(f"{name} {number}" for name, number in table["libraries"].items())),
        ("figures", "computed from bench_scores, bench_predictions and bench_costs of this store by run and cell"),
    ]
