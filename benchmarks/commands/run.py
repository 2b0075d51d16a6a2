"""The command `run`."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.commands.options import (
    NAMES,
    PAGE,
    REPORT,
    Data,
    GroupOptions,
    Learning,
    data_options,
    group_options,
    head_options,
    rank_option,
    templates_option,
    terminal_width,
    written,
)
from featurestore.commands.options import example, json_option, print_json, say_next, store_option
from featurestore.errors import InputError
from featurestore.progress import ConsoleProgress, is_quiet


@click.command(
    epilog=example(
        "benchmarks run --quick",
        "benchmarks run --head knn --head logistic_regression --backbone clip",
        "benchmarks run --view eras --protocol across --by decade",
        "benchmarks run --protocol given --split split",
    )
)
@store_option
@data_options
@head_options
@group_options
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(NAMES),
    default=["cv"],
    show_default=True,
    help="How the images are split: cv (folds), study (the split of the movie study), given (a column of yours says "
    "it), nested (folds, with settings chosen on inner folds), learning-curve (from a part of the training images), "
    "across (from one group of images to another). Repeatable.",
)
@click.option(
    "--folds",
    type=int,
    default=5,
    show_default=True,
    help="Cut the images into this many folds. The protocols study and given have one split instead.",
)
@click.option(
    "--split",
    metavar="COLUMN",
    help="For the protocol given: the column of the view that says train, test or validation.  [default: split]",
)
@click.option(
    "--by",
    metavar="COLUMN",
    help="For the protocol across: learn from some values of this column of the view, such as decades, and test on the "
    "others.",
)
@click.option("--repeats", type=int, help="Draw the folds anew this many times.  [default: 10; 2 for learning-curve]")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Train a head that draws random numbers with this many seeds on each fold.",
)
@click.option(
    "--reference",
    metavar="[BACKBONE/]HEAD",
    help="The row that all others are compared with.  [default: logistic_regression on the first backbone]",
)
@click.option(
    "--finetune",
    multiple=True,
    metavar="RECIPE",
    help="Also fine-tune a ResNet50: resnet50_head trains its last layer, resnet50_layer4 its last block; repeatable.",
)
@click.option(
    "--weights",
    help="For --finetune: where it starts from: a name on the Hugging Face hub, a folder, or none for random weights.  "
    "[default: microsoft/resnet-50]",
)
@templates_option
@rank_option
@click.option(
    "--on",
    metavar="CLUSTER",
    help="Train on a Ray cluster: ray://HOST:PORT, HOST:PORT, or auto on a machine of the cluster.",
)
@click.option("--quick", is_flag=True, help="A first look: draw the folds once, and measure no time and memory.")
@json_option
def run(
    store: str,
    data: Data,
    learning: Learning,
    kept: GroupOptions,
    protocols: Sequence[str],
    folds: int,
    split: str | None,
    by: str | None,
    repeats: int | None,
    seeds: int,
    reference: str | None,
    finetune: Sequence[str],
    weights: str | None,
    templates: Path | None,
    rank_by: str | None,
    on: str | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Train every head on every fold, and compare.

    It prints the table and writes the report. Nothing is computed twice: the same command goes on where it stopped.
    """
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks run")
    from benchmarks.finetune.weights import DEFAULT
    from benchmarks.plan.given import COLUMN
    from benchmarks.plan.prompts import Prompting, templates_of
    from benchmarks.plan.protocols import DEFAULT_REPEATS, Protocol
    from benchmarks.run.runner import run as start
    from featurestore import open as open_store

    _refuse_misplaced(protocols, repeats, split=split, by=by, rank_by=rank_by)
    opened = open_store(store)
    drawn = partial(Protocol, folds=folds, seed=learning.seed, column=split or COLUMN, by=by or "")
    plans = [drawn(name, repeats=1 if quick else repeats or DEFAULT_REPEATS[name]) for name in dict.fromkeys(protocols)]
    with ConsoleProgress("bench", "cells") as progress, ConsoleProgress("time and memory", "heads") as costs:
        reports = start(
            opened,
            heads=learning.specs(),
            protocols=plans,
            backbones=data.backbones,
            view=data.view,
            label=data.label,
            seed=learning.seed,
            seeds=seeds,
            reference=reference,
            grouping=kept.grouping(),
            finetune=finetune,
            weights=weights or DEFAULT,
            prompting=Prompting(templates_of(templates)),
            cost=not quick,
            limits=replace(learning.limits(), on=on),
            on_progress=progress,
            on_cost=costs,
            on_repeat=None if as_json or is_quiet() else partial(_look, opened, progress, rank_by),
        )
    _show(opened, reports, rank_by=rank_by, quick=quick, as_json=as_json)


def _refuse_misplaced(
    protocols: Sequence[str], repeats: int | None, *, split: str | None, by: str | None, rank_by: str | None
) -> None:
    """Raise `InputError` for no repeats, an unknown metric, a column without its protocol, and the other way round."""
    from benchmarks.results.compared import known_metric

    known_metric(rank_by)
    if repeats is not None and repeats < 1:
        raise InputError(f"got {repeats} repeats, expected 1 or more")
    if split is not None and "given" not in protocols:
        raise InputError(f"got --split {split} without --protocol given: name that protocol, or leave --split out")
    if by is None and "across" in protocols:
        raise InputError("got --protocol across without --by: name the view's column whose values are compared")
    if by is not None and "across" not in protocols:
        raise InputError(f"got --by {by} without --protocol across: name that protocol, or leave --by out")


def _look(store: Any, progress: ConsoleProgress, rank_by: str | None, run_id: str, whole: int, repeats: int) -> None:
    """Print the table over the repeats that are whole, as a heading says.

    To stderr, as progress is: the one table on stdout is the last.
    """
    from benchmarks.report.tables import tables, tables_as_text

    found = tables(store.refresh(), run_id=run_id, rank_by=rank_by, repeats=whole)
    progress.pause()
    text = tables_as_text(found, "terminal", width=terminal_width())
    click.echo(f"\nafter repeat {whole} of {repeats}\n{text}\n", err=True)


def _show(store: Any, reports: Sequence[Any], *, rank_by: str | None, quick: bool, as_json: bool) -> None:
    from benchmarks.report.page import write_html
    from benchmarks.report.tables import tables, tables_as_text, write_report

    newest = {table["run_id"]: table for table in tables(store, rank_by=rank_by)}
    # What this call ran, unless another process ran it anew since; other views and labels are in the report.
    result = [newest[report.run_id] for report in reports if report.run_id in newest]
    # Printed first: the table must not depend on room for the files.
    if as_json:
        print_json({"runs": [asdict(report) for report in reports], "tables": result})
    else:
        click.echo(tables_as_text(result, "terminal", width=terminal_width()))
    shown = list(newest.values())
    written(partial(write_report, shown), store.path / REPORT)
    written(partial(write_html, store, shown), store.path / PAGE)
    if as_json:
        return
    click.echo()
    for report in reports:
        failed = f", {report.failed} failed" if report.failed else ""
        click.echo(
            f"{report.run_id}: {report.computed} of {report.cells} cells computed in {report.seconds:.1f} s{failed}"
        )
    click.echo(f"store {store.location}, report {store.path / PAGE}")
    if quick:
        say_next("the same command without --quick, for all repeats with time and memory measured")
    elif any(table["task"] == "multiclass" for table in result):
        say_next("benchmarks doubtful -o doubtful.html", store=store.location)
