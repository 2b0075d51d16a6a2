"""The command `run`."""

import json
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
from featurestore.commands.options import json_option, store_option
from featurestore.errors import InputError
from featurestore.progress import ConsoleProgress


@click.command()
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
    help="Repeatable.",
)
@click.option("--folds", type=int, default=5, show_default=True, help="Folds; study and given have one split.")
@click.option(
    "--split",
    metavar="COLUMN",
    help="For given: the view's column that says train, test, validation.  [default: split]",
)
@click.option("--by", metavar="COLUMN", help="For across: the view's column whose values are compared, such as decade.")
@click.option("--repeats", type=int, help="Repeats of the folds.  [default: 10, learning-curve 2]")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="Seeds of each random head, on each split."
)
@click.option(
    "--reference", metavar="[BACKBONE/]HEAD", help="Row to compare the others with.  [default: logistic_regression]"
)
@click.option(
    "--finetune",
    multiple=True,
    metavar="RECIPE",
    help="Also fine-tune ResNet50: resnet50_head or resnet50_layer4; repeatable.",
)
@click.option("--weights", help="For --finetune: a name, a local folder, or none.  [default: microsoft/resnet-50]")
@templates_option
@rank_option
@click.option("--on", metavar="CLUSTER", help="Compute the cells on a Ray cluster: ray://HOST:PORT, HOST:PORT or auto.")
@click.option("--quick", is_flag=True, help="A first look: one repeat, no measurement of costs.")
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
    """Fit every head on every split and print the comparison table; finished cells are never computed again."""
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks run")
    from benchmarks.finetune.weights import DEFAULT
    from benchmarks.plan.given import COLUMN
    from benchmarks.plan.prompts import Prompting, templates_of
    from benchmarks.plan.protocols import DEFAULT_REPEATS, Protocol
    from benchmarks.results.compared import known_metric
    from benchmarks.run.runner import run as start
    from featurestore import open as open_store

    _refuse_misplaced(protocols, repeats, split=split, by=by)
    known_metric(rank_by)
    opened = open_store(store)
    drawn = partial(Protocol, folds=folds, seed=learning.seed, column=split or COLUMN, by=by or "")
    plans = [drawn(name, repeats=1 if quick else repeats or DEFAULT_REPEATS[name]) for name in dict.fromkeys(protocols)]
    with ConsoleProgress("bench", "cells") as progress, ConsoleProgress("costs", "heads") as costs:
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
            on_repeat=None if as_json else partial(_look, opened, progress, rank_by),
        )
    _show(opened, reports, rank_by=rank_by, quick=quick, as_json=as_json)


def _refuse_misplaced(protocols: Sequence[str], repeats: int | None, *, split: str | None, by: str | None) -> None:
    """Raise `InputError` for no repeats, and where a column is named without its protocol, or the other way round."""
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
        click.echo(json.dumps({"runs": [asdict(report) for report in reports], "tables": result}, default=str))
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
    if quick:
        click.echo("a first look; the full protocol, with costs measured: the same command without --quick")
    click.echo(f"store {store.location}, report {store.path / PAGE}")
