"""The commands `table`, `report`, `runs` and `runs diff`."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from benchmarks.commands.options import NAMES, PAGE, rank_option, terminal_width, written
from featurestore.commands.options import PATH, json_option, store_option

run_option = click.option(
    "--run", "run_id", metavar="ID", help="This run alone, by its id or how it begins; see `runs`."
)


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
@run_option
@rank_option
def table(store: str, protocols: Sequence[str], form: str, wide: bool, run_id: str | None, rank_by: str | None) -> None:
    """Print the comparison tables: of each protocol all stored results over the folds of its newest run."""
    from benchmarks.report.tables import tables, tables_as_text
    from featurestore import open as open_store
    from featurestore.errors import InputError

    if run_id is not None and protocols:
        raise InputError(f"got both --run {run_id} and --protocol: name one of them, a run has one protocol")
    found = tables(open_store(store), protocols=protocols, run_id=run_id, rank_by=rank_by)
    click.echo(tables_as_text(found, form, width=None if wide else terminal_width()))


@click.command()
@store_option
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="File to write, .html (or no ending) or .md.  [default: report.html in the store]",
)
@run_option
@rank_option
def report(store: str, output: Path | None, run_id: str | None, rank_by: str | None) -> None:
    """Write the comparison tables with charts as one HTML page for people, or the tables alone as Markdown."""
    from benchmarks.report.page import write_html
    from benchmarks.report.tables import tables, write_report
    from featurestore import open as open_store
    from featurestore.files import PAGE as HTML
    from featurestore.files import format_of

    opened = open_store(store)
    path = output or opened.path / PAGE
    form = format_of(path, None, {**HTML, "markdown": (".md",)})
    shown = tables(opened, run_id=run_id, rank_by=rank_by)
    page = partial(write_html, opened, shown, run_id=run_id)
    written(page if form == "html" else partial(write_report, shown), path)
    click.echo(str(path))


@click.group(invoke_without_command=True)
@store_option
@json_option
@click.pass_context
def runs(context: click.Context, store: str, as_json: bool) -> None:
    """List the runs, newest first; `table` and `report` show one alone with --run, `runs diff` compares two."""
    if context.invoked_subcommand is not None:
        context.default_map = {context.invoked_subcommand: {"store": store, "as_json": as_json}}
        return
    from benchmarks.report.listing import lines, listed
    from featurestore import open as open_store

    found = listed(open_store(store))
    click.echo(json.dumps(found, default=str) if as_json else "\n".join(lines(found)))


@runs.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@store_option
@json_option
def runs_diff(first: str, second: str, store: str, as_json: bool) -> None:
    """Show what differs between the runs A and B: images, backbones, settings, and the score of each row.

    Each is named by its id or how that begins. Rows are tested over the splits that both runs have.
    """
    from benchmarks.report.run_diff import as_json as to_json
    from benchmarks.report.run_diff import lines
    from benchmarks.results.diff import run_difference
    from featurestore import open as open_store

    found = run_difference(open_store(store), first, second)
    click.echo(to_json(found) if as_json else "\n".join(lines(found)))
