"""The bench's pages of the explorer: what each address below ``api/`` answers from stored results; it fits nothing."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.plan.protocols import ONE_REPEAT
from benchmarks.report.columns import spelled
from benchmarks.report.explorer_bench import ExplorerBench
from benchmarks.report.explorer_runs import KeptRun, KeptRuns
from benchmarks.report.json_ready import json_ready, packed
from benchmarks.report.tables import notes, table_of
from benchmarks.results.breakdown import Row
from benchmarks.results.read import stored_runs
from benchmarks.results.selection import stored_cells
from featurestore import FeatureStore, label_text, quote_name
from featurestore.errors import InputError, QueryError

Query = Mapping[str, Any]
Page = Callable[[Query], object]
# How many images a list holds, and how many classes have a level of their own.
MOST, LEVELS, MOST_LEVELS = 500, 12, 1000


def pages(store: FeatureStore) -> dict[str, Page]:
    """The addresses below ``api/`` with what answers them: a function of the query's parameters, ready for JSON.

    The one whose name begins with ``POST`` is called with what was sent, and starts a process; all others only read.
    """
    kept, bench = KeptRuns(store), ExplorerBench(store)
    answers: dict[str, Callable[[KeptRuns, Query], object]] = {
        "runs": runs,
        "results": results,
        "heads": heads,
        "cell": cell,
        "errors": errors,
        "doubtful": doubtful,
        "wrong": wrong,
        "predicted": predicted,
        "predictions": predictions,
    }
    found: dict[str, Page] = {name: partial(_answered, kept, answer) for name, answer in answers.items()}
    return found | {"bench": bench.progress, "POST bench": bench.start}


def _answered(kept: KeptRuns, answer: Callable[[KeptRuns, Query], object], query: Query) -> object:
    return json_ready(answer(kept, query))


def runs(kept: KeptRuns, query: Query) -> list[dict[str, Any]]:
    """Every run but those with shuffled labels, newest first; ``text`` names it for a person."""
    known = stored_cells(kept.store)
    found = []
    for run in stored_runs(kept.store):
        tried = [known[key] for key in run["cells"] if key in known]
        rows = len({(cell.backbone, cell.head) for cell in tried})
        quick = run["repeats"] == 1 and run["protocol"] not in ONE_REPEAT
        started: datetime = run["started_at"]
        what = [f"{run['view']} by {run['label']}", run["protocol"], *(["quick"] if quick else [])]
        what += [f"{rows} rows", f"{started:%Y-%m-%d %H:%M} UTC", *(["SYNTHETIC"] if run["synthetic"] else [])]
        found.append(
            {"run": run["run_id"], "text": " · ".join(what), "started_at": started, "quick": quick, "rows": rows}
            | {name: run[name] for name in ("protocol", "view", "label", "task", "n_rows", "n_corrected", "synthetic")}
            | {"cells": len(run["cells"]), "done": sum(cell.ok for cell in tried)}
        )
    return found


def results(kept: KeptRuns, query: Query) -> list[dict[str, Any]]:
    """The comparison table of a run, as `benchmarks table --json` has it, with its notes in words."""
    one = kept.asked(query)
    return [one.once("results", lambda: _table(kept.store, one))]


def _table(store: FeatureStore, one: KeptRun) -> dict[str, Any]:
    table = table_of(store, one.run, one.compared)
    title, *others = notes(table)
    return {**table, "title": title, "notes": others}


def heads(kept: KeptRuns, query: Query) -> dict[str, Any]:
    """Two rows, ``backbone/head``: the confusion matrix of each in images, McNemar's test, and what the table says."""
    one = kept.asked(query)
    a, b = (one.row(query, name) for name in ("a", "b"))
    test, images = one.images.mcnemar(a, b)
    return {
        "classes": one.run["classes"],
        **{
            name: {
                "name": "/".join(row),
                "confusion": one.images[row].confusion(len(one.run["classes"])).tolist(),
                "images": len(one.images[row].ids),
            }
            for name, row in (("a", a), ("b", b))
        },
        "mcnemar": {"only_a": test.only_a, "only_b": test.only_b, "p": test.p_value, "images": images}
        | {"text": _of_table(one, a, b)},
    }


def _of_table(one: KeptRun, a: Row, b: Row) -> str | None:
    """What the comparison of all rows says of two: McNemar's test knows neither the repeats nor the other rows."""
    found = one.compared
    inference = found.inference
    if inference is None or a == b or not {a, b} <= set(inference.family):
        return None
    difference, low, high = inference.interval(a, b)
    if np.isnan(low):
        return None
    verdict = "significantly different" if low > 0 or high < 0 else "not significantly different"
    return (
        f"among all rows of the table {verdict}: {spelled(found.metric)} of A minus B {difference:+.3f}, "
        f"95 % interval {low:+.3f} to {high:+.3f}"
    )


def cell(kept: KeptRuns, query: Query) -> list[dict[str, Any]]:
    """The images of the class ``truth`` that a row predicts as ``predicted``, surest first.

    ``p`` is the mean probability of that class, ``times`` how many ``of`` the predictions of the image named it.
    """
    one = kept.asked(query)
    found = one.images[one.row(query, "row")]
    truth, named = (one.class_code(query, name) for name in ("truth", "predicted"))
    where = np.flatnonzero((found.y == truth) & (found.predicted == named))
    where = where[np.lexsort((found.ids[where], -found.p[where].round(9)))]
    return [
        {"ImgId": img_id, "p": p, "times": times, "of": of}
        for img_id, p, times, of in zip(
            *(values[where].tolist() for values in (found.ids, found.p, found.times, found.of)), strict=True
        )
    ]


def errors(kept: KeptRuns, query: Query) -> dict[str, Any]:
    """The images that most rows predict wrongly, the surest first, without those whose label has changed since."""
    one = kept.asked(query)
    found = [
        {"ImgId": found.img_id, "truth": found.truth, "predicted": found.predicted, "p": found.sure}
        | {"right": found.right}
        for found in one.verdicts
        if found.predicted != found.truth
    ]
    return _listed(kept, one, sorted(found, key=lambda row: (row["right"], -round(row["p"], 9), row["ImgId"])))


def doubtful(kept: KeptRuns, query: Query) -> dict[str, Any]:
    """The labels that confident learning doubts, most doubtful first, without those that have changed since."""
    one = kept.asked(query)
    found = [
        {"ImgId": label.img_id, "truth": label.given, "predicted": label.suggested, "p": label.sure}
        | {"p_truth": label.score}
        for label in one.doubtful
    ]
    return _listed(kept, one, found)


def _listed(kept: KeptRuns, one: KeptRun, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """At most `MOST` of ``rows`` with the names of classes; ``note`` says how many labels are others by now."""
    usable = set(kept.ids.tolist())
    classes, shown = one.run["classes"], [row for row in rows if row["ImgId"] in usable][:MOST]
    now = _labels_now(kept.store, one, [row["ImgId"] for row in shown])
    left = [row for row in shown if now.get(row["ImgId"], classes[row["truth"]]) == classes[row["truth"]]]
    names = [
        {**row, "truth": classes[row["truth"]], "predicted": classes[row["predicted"]], "column": one.run["label"]}
        for row in left
    ]
    changed = len(shown) - len(left)
    what = "1 image has" if changed == 1 else f"{changed} images have"
    note = f"{what} another label since this run, and {'is' if changed == 1 else 'are'} left out." if changed else None
    return {"images": names, "total": len(rows), "note": note}


def _labels_now(store: FeatureStore, one: KeptRun, ids: list[int]) -> dict[int, str]:
    """The labels of today as classes are named, those of images in the view; none where view or column is gone."""
    label, view = quote_name(one.run["label"]), quote_name(one.run["view"])
    try:
        rows = store.query(f"SELECT ImgId, {label} AS now FROM {view} WHERE ImgId IN (SELECT unnest(?))", [ids])
    except QueryError:
        return {}
    return {row["ImgId"]: label_text(row["now"]) for row in rows.to_pylist()}


def wrong(kept: KeptRuns, query: Query) -> dict[str, Any]:
    """The share of rows that are wrong about each usable image, ascending: float32, NaN where none tested it."""
    one = kept.asked(query)
    ids, share = one.once("wrong", one.images.wrong)
    values = np.full(len(kept.ids), np.nan, np.float32)
    place, there = kept.places(ids)
    values[place] = share[there]
    return {"kind": "number", "values": packed(values, "<f4"), "rows": len(one.images.candidates)}


def predicted(kept: KeptRuns, query: Query) -> dict[str, Any]:
    """For each usable image, ascending, the class that a row predicts it as: codes of ``levels``, -1 for none."""
    one = kept.asked(query)
    found = one.images[one.row(query, "row")]
    most = query.get("levels", str(LEVELS))
    if not (most.isascii() and most.isdigit() and 1 <= int(most[:9]) <= MOST_LEVELS):
        raise InputError(f"got {most[:40]!r} as levels, expected a whole number from 1 to {MOST_LEVELS}")
    names, codes = _levels(found.predicted, one.run["classes"], int(most))
    values = np.full(len(kept.ids), -1, np.int16)
    place, there = kept.places(found.ids)
    values[place] = codes[there]
    return {"kind": "levels", "levels": names, "codes": packed(values, "<i2")}


def _levels(codes: NDArray[np.int64], classes: list[str], most: int) -> tuple[list[str], NDArray[np.int64]]:
    """The most frequent classes, the rest as ``other``; and codes of these levels."""
    counts = np.bincount(codes, minlength=len(classes))
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] > 0]
    level = np.full(len(classes), min(most, len(order)))
    level[order[:most]] = np.arange(min(most, len(order)))
    names = [classes[code] for code in order[:most].tolist()]
    return names + (["other"] if len(order) > most else []), level[codes]


def predictions(kept: KeptRuns, query: Query) -> list[dict[str, Any]]:
    """What every row predicts of the image ``id``, in the order of the table."""
    one = kept.asked(query)
    text = query.get("id", "")
    if not (text.isascii() and text.isdigit() and len(text) < 11):
        raise InputError(f"got {text[:40]!r} as id, expected the number of an image")
    order = {(row["backbone"], row["head"]): place for place, row in enumerate(one.compared.rows)}
    found = []
    for row in sorted(one.images, key=lambda row: (order.get(row, len(order)), row)):
        images = one.images[row]
        place = int(np.searchsorted(images.ids, int(text)))
        if place < len(images.ids) and images.ids[place] == int(text):
            named = {name: one.run["classes"][getattr(images, name)[place]] for name in ("predicted",)}
            named["truth"] = one.run["classes"][images.y[place]]
            found.append(
                {"row": "/".join(row), "backbone": row[0], "head": row[1], **named, "p": images.p[place]}
                | {"times": images.times[place], "of": images.of[place]}
            )
    return found
