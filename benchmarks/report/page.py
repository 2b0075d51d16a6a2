"""The report for people: one HTML file that needs no network; it asks stored results and never trains."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import formats, page_data
from benchmarks.report.advice import advice
from benchmarks.report.claims import answer, floor_score
from benchmarks.report.columns import SPEED, Column, columns
from benchmarks.report.figures import figures
from benchmarks.report.gallery import galleries as image_galleries
from benchmarks.report.gallery import known_images
from benchmarks.report.maps import map_figures
from benchmarks.report.rendering import rendered, template
from benchmarks.report.tables import notes, quick_note
from benchmarks.results.breakdown import Row, RowPredictions, image_probabilities, rows_of
from benchmarks.results.selection import selected
from benchmarks.scores.metrics import TASKS
from featurestore import FeatureStore
from featurestore.files import write_atomic

# How many classes are named.
NAMED = 10
TITLES = {
    "cv": "Cross-validation",
    "nested": "Nested cross-validation",
    "study": "The study's split",
    "given": "The given split",
    "learning-curve": "Learning curve",
    "across": "Across domains",
}


def write_html(store: FeatureStore, tables: Sequence[dict[str, Any]], path: Path, *, run_id: str | None = None) -> None:
    """Write `report.tables` of ``store``, all or those of one run, with charts and images as one page."""
    write_atomic(path, html(store, tables, run_id=run_id).encode())


def html(
    store: FeatureStore, tables: Sequence[dict[str, Any]], *, run_id: str | None = None, galleries: bool = True
) -> str:
    """The page of `write_html`; without ``galleries`` it shows no images."""
    by_id = {run["run_id"]: run for run in selected(store, run_id=run_id)}
    known = known_images(store) if galleries else {}
    # The main task first, each in the order of TITLES.
    order = list(TITLES)
    shown = sorted(tables, key=lambda table: (table["view"] != "labeled", order.index(table["protocol"])))
    sections = [
        _section(store, table, by_id[table["run_id"]], known if galleries else None, prefix=f"{number}-")
        for number, table in enumerate(shown)
    ]
    charts = [chart for section in sections for chart in section["charts"]]
    cells = {key: cell for chart in charts for key, cell in chart.get("cells", {}).items()}
    maps = {key: ids for chart in charts for key, ids in chart.get("maps", {}).items()}
    cards = [card for section in sections for gallery in section["galleries"] for card in gallery.cards]
    kept = page_data.pictures(list(cells.values()), known, {card.img_id for card in cards if card.image})
    script = template("report.js")
    return rendered(
        "report.html.j2",
        sections=sections,
        synthetic=any(section["synthetic"] for section in sections),
        style=template("report.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=page_data.as_json(cells, maps, known, kept),
        left_out=len(kept.left_out),
    )


def _section(
    store: FeatureStore,
    table: dict[str, Any],
    run: dict[str, Any],
    known: dict[int, dict[str, Any]] | None,
    *,
    prefix: str,
) -> dict[str, Any]:
    """Everything that the template shows of one run, ready to print.

    Parameters
    ----------
    known
        As `gallery.known_images` gives it; None shows no images.
    prefix
        Begins the keys of the marks that the script knows.
    """
    metric = table["rank_by"]
    whole = [row for row in table["rows"] if row.get("size", 1.0) == 1.0 and row.get(metric) is not None]
    mine = [row for row in whole if not row["published"]]
    floor = floor_score(table, mine, metric)
    title = TITLES[table["protocol"]] + ("" if table["view"] == "labeled" else f": {table['label']} of {table['view']}")
    title += ", labels shuffled" if run["canary"] else ", a quick look" if quick_note(table) else ""
    curve = table["protocol"] == "learning-curve"
    predicted: Mapping[Row, RowPredictions] = {} if curve or run["task"] != "multiclass" else rows_of(store, run)
    probabilities = image_probabilities(predicted)
    maps = []
    if probabilities is not None:
        backbones = list(dict.fromkeys(row["backbone"] for row in mine))
        maps = map_figures(store, backbones, probabilities, run["classes"], prefix=prefix)
    warnings = [note for note in notes(table) if note in table["warnings"] or note.startswith("LEAK")]
    return {
        "id": table["run_id"],
        "title": title,
        "answer": answer(table, mine, floor=floor, metric=metric),
        "advice": advice(table, mine, predicted, run["classes"]),
        "warnings": warnings,
        "notes": [note for note in notes(table)[1:] if note not in warnings and not note.startswith("SYNTHETIC")],
        "synthetic": table["synthetic"] or any(row.get("synthetic") for row in mine),
        "scores": _grid(table, scored(table), title=title),
        "costs": None if curve else _grid({**table, "rows": mine}, COST, title="What it costs"),
        "charts": figures(
            run, table, predicted, floor=floor, metric=metric, maps=maps, prefix="" if known is None else prefix
        ),
        "galleries": []
        if known is None or probabilities is None
        else image_galleries(known, run["classes"], probabilities),
        "protocol": table["protocol_text"],
        "margin": table["margin"],
        "lineage": _lineage(store, table, run),
    }


# First what the run itself took on shared cores, then what the cost pass measured with the machine to itself.
COST: tuple[Column, ...] = (
    ("fit_seconds", "fit s, in the run", ".2f"),
    ("predict_ms", "predict ms a row", ".3f"),
    ("cost_fit_seconds", "fit s, alone", ".2f"),
    ("predict_ms_p50", "single row ms, p50", ".2f"),
    ("predict_ms_p95", "p95", ".2f"),
    ("memory_mb", "memory MB", ".0f"),
    ("model_mb", "model MB", ".2f"),
)


def scored(table: dict[str, Any]) -> tuple[Column, ...]:
    """The columns of the first table: all scores, and the verdicts."""
    shown = [column for column in columns(table) if column not in SPEED]
    return tuple(shown)


def _grid(table: dict[str, Any], columns: Sequence[Column], *, title: str) -> dict[str, Any]:
    """A table ready to print, its rows named by head, backbone and marks; columns without a figure are left out."""
    full = [_with_derived(row) for row in table["rows"]]
    columns = [column for column in columns if any(row.get(column[0]) is not None for row in full)]
    rows = []
    for row in full:
        # On paper a cell may fold after the dash of an interval, not before it.
        cells = [formats.value(row, name, form).replace(" –", "\u00a0–") for name, _, form in columns]
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
                "tied": row["in_best_set"],
            }
        )
    headings = [{"text": heading, "low": _low_is_good(table["task"], name)} for name, heading, _ in columns]
    return {"title": title, "headings": headings, "rows": rows}


def _low_is_good(task: str, column: str) -> bool:
    """Whether a column is sorted with its lowest figure first."""
    known = TASKS[task].get(column)
    return known.better == "lower" if known else column not in ("interval", "difference", "surest_half")


def _with_derived(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what several of its figures make together, or in another unit."""
    size = row.get("model_bytes")
    return row | {
        "model_mb": None if size is None else size / 1e6,
    }


def _lineage(store: FeatureStore, table: dict[str, Any], run: dict[str, Any]) -> list[tuple[str, str]]:
    revisions = {info.name: info for info in store.backbones()}
    used = dict.fromkeys(name for row in table["rows"] if not row["published"] for name in row["backbone"].split("+"))
    backbones = [
        f"{name} revision {revisions[name].revision} ({revisions[name].source or revisions[name].weights}"
        f"{', SYNTHETIC' if revisions[name].synthetic else ''})"
        for name in used
        if name in revisions
    ]
    counted = [f"{name} {n}" for name, n in zip(run["classes"], run["class_counts"], strict=True)]
    return [
        ("run", f"{', '.join(run['runs'])}; {len(run['cells'])} cells, seed {run['seed']}, {run['seeds']} per split"),
        ("store state", str(run["state_id"])),
        ("view", f"{run['view']}, label {run['label']}: {_folded(counted)}"),
        ("backbones, current revisions", "; ".join(backbones)),
        ("reference", str(run["reference"])),
        ("machine", str(run["machine"])),
        ("libraries", ", ".join(f"{name} {number}" for name, number in table["libraries"].items())),
        ("figures", "computed from bench_scores, bench_predictions and bench_costs of this store by run and cell"),
    ]


def _folded(names: Sequence[str]) -> str:
    """The names as a list; of a long one the first, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:NAMED])} and {more} more"
