"""The commands `table` and `report`."""

from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.commands.run import REPORT
from featurestore.commands.options import FOLDER, store_option


@click.command()
@store_option
@click.option("--protocol", "protocols", multiple=True, type=click.Choice(["cv", "study"]), help="[default: all]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "csv", "json"]),
    default="terminal",
    show_default=True,
    help="What the table is printed as.",
)
def table(store: Path, protocols: Sequence[str], form: str) -> None:
    """Print the comparison table of the newest run of each protocol."""
    from benchmarks.report import render, tables
    from featurestore import open as open_store

    click.echo(render(tables(open_store(store), protocols=protocols), form))


@click.command()
@store_option
@click.option("-o", "--output", type=FOLDER, help="File to write.  [default: report.md in the store]")
def report(store: Path, output: Path | None) -> None:
    """Write the newest tables with protocol and lineage as Markdown."""
    from benchmarks.report import write_report
    from featurestore import open as open_store

    path = output or store / REPORT
    write_report(open_store(store), path)
    click.echo(str(path))
