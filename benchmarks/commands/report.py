"""The commands `table` and `report`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from benchmarks.commands.options import NAMES, PAGE, terminal_width, written
from featurestore.commands.options import FOLDER, store_option


@click.command()
@store_option
@click.option("--protocol", "protocols", multiple=True, type=click.Choice(NAMES), help="[default: all]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "csv", "latex", "json"]),
    default="terminal",
    show_default=True,
    help="What the table is printed as.",
)
@click.option("--wide", is_flag=True, help="On a terminal: all columns, however wide.")
def table(store: Path, protocols: Sequence[str], form: str, wide: bool) -> None:
    """Print the comparison table of the newest run of each protocol."""
    from benchmarks.report import render, tables
    from featurestore import open as open_store

    click.echo(render(tables(open_store(store), protocols=protocols), form, width=None if wide else terminal_width()))


@click.command()
@store_option
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    help="File to write, .html (or no ending) or .md.  [default: report.html in the store]",
)
def report(store: Path, output: Path | None) -> None:
    """Write the newest runs as one HTML page for people, or their tables as Markdown."""
    from featurestore._optional import import_extra

    import_extra("matplotlib", "bench", needed_by="benchmarks report")
    from benchmarks.html_report import write_html
    from benchmarks.report import tables, write_report
    from featurestore import open as open_store
    from featurestore.suffixes import PAGE as HTML
    from featurestore.suffixes import format_of

    path = output or store / PAGE
    form = format_of(path, None, {**HTML, "markdown": (".md",)})
    opened = open_store(store)
    shown = tables(opened)
    written(partial(write_html, opened, shown) if form == "html" else partial(write_report, shown), path)
    click.echo(str(path))
