"""The commands `run` and `heads`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from featurestore.commands.options import json_option, store_option
from featurestore.progress import ConsoleProgress

REPORT = "report.md"


@click.command()
@store_option
@click.option("--backbone", "backbones", multiple=True, help="Repeatable.  [default: all in the store]")
@click.option("--head", "heads", multiple=True, help="Repeatable; see `heads`.  [default: all]")
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(["cv", "study"]),
    default=["cv"],
    show_default=True,
    help="Repeatable.",
)
@click.option("--view", default="labeled", show_default=True, help="A view with ImgId and a label.")
@click.option("--label", default="Genre1", show_default=True, help="The view's label column.")
@click.option("--folds", type=int, default=5, show_default=True, help="Of cv.")
@click.option("--repeats", type=int, default=1, show_default=True, help="Of cv.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the folds and of heads that are random.")
@click.option("--workers", type=int, help="Processes.  [default: the number of cores]")
@json_option
def run(
    store: Path,
    backbones: Sequence[str],
    heads: Sequence[str],
    protocols: Sequence[str],
    view: str,
    label: str,
    folds: int,
    repeats: int,
    seed: int,
    workers: int | None,
    as_json: bool,
) -> None:
    """Fit every head on every split and print the comparison table; finished cells are never computed again."""
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks run")
    from benchmarks.heads.registry import find
    from benchmarks.protocols import Protocol
    from benchmarks.report import render, tables, write_report
    from benchmarks.runner import run as start
    from featurestore import open as open_store

    chosen = find(heads)
    opened = open_store(store)
    plans = [Protocol(name, folds=folds, repeats=repeats, seed=seed) for name in dict.fromkeys(protocols)]
    with ConsoleProgress("bench", "cells") as progress:
        reports = start(
            opened,
            heads=chosen,
            protocols=plans,
            backbones=backbones,
            view=view,
            label=label,
            seed=seed,
            workers=workers,
            on_progress=progress,
        )
    result = tables(opened, protocols=[plan.name for plan in plans])
    write_report(opened, store / REPORT)
    if as_json:
        click.echo(json.dumps({"runs": [asdict(report) for report in reports], "tables": result}, default=str))
        return
    click.echo(render(result, "terminal"))
    click.echo()
    for report in reports:
        failed = f", {report.failed} failed" if report.failed else ""
        click.echo(
            f"{report.run_id}: {report.computed} of {report.cells} cells computed in {report.seconds:.1f} s{failed}"
        )
    click.echo(f"store {store}, report {store / REPORT}")


@click.command()
@json_option
def heads(as_json: bool) -> None:
    """List the heads."""
    from benchmarks.heads.registry import HEADS

    if as_json:
        click.echo(json.dumps([{"name": head.name, "about": head.about} for head in HEADS.values()]))
        return
    for head in HEADS.values():
        click.echo(f"{head.name:<24}{head.about}")
