"""The commands `table`, `report`, `runs` and `runs diff`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from benchmarks.commands.options import NAMES, PAGE, rank_option, terminal_width, written
from featurestore.commands.options import PATH, exact_option, example, json_option, print_json, store_option

run_option = click.option(
    "--run",
    "run_id",
    metavar="ID",
    help="Show this run alone: its id, or the beginning of it; `benchmarks runs` lists them.",
)


@click.command(epilog=example("benchmarks table", "benchmarks table --protocol cv --format csv"))
@store_option
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(NAMES),
    help="Print the tables of this protocol alone; repeatable.  [default: all]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "csv", "latex", "json"]),
    default="terminal",
    show_default=True,
    help="How the table is written.",
)
@click.option("--wide", is_flag=True, help="Print all columns, also those that do not fit the terminal.")
@exact_option
@run_option
@rank_option
def table(
    store: str,
    protocols: Sequence[str],
    form: str,
    wide: bool,
    exact: bool,
    run_id: str | None,
    rank_by: str | None,
) -> None:
    """Print the comparison tables of stored runs.

    Each protocol, view and label has one table. It shows all stored results over the folds of its newest run, whichever
    run computed them.
    """
    from benchmarks.report.tables import tables, tables_as_text
    from featurestore import open as open_store
    from featurestore.errors import InputError

    if run_id is not None and protocols:
        raise InputError(f"got both --run {run_id} and --protocol: name one of them, a run has one protocol")
    found = tables(open_store(store), protocols=protocols, run_id=run_id, rank_by=rank_by)
    text = tables_as_text(found, form, width=None if wide else terminal_width(), exact=exact)
    click.echo(text.encode() if form == "csv" else text)  # bytes reach a file or a pipe as they are


@click.command(epilog=example("benchmarks report -o report.html", "benchmarks report -o tables.md"))
@store_option
@click.option(
    "-o",
    "--output",
    type=PATH,
    help="The file to write: .html for the page, .md for the tables alone.  [default: report.html in the store]",
)
@run_option
@rank_option
def report(store: str, output: Path | None, run_id: str | None, rank_by: str | None) -> None:
    """Write the report: one page to read and show.

    The page holds tables, charts and images in one file that needs no network.
    """
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


@click.group(invoke_without_command=True, epilog=example("benchmarks runs", "benchmarks runs --json"))
@store_option
@json_option
@click.pass_context
def runs(context: click.Context, store: str, as_json: bool) -> None:
    """List the stored runs, or compare two.

    The newest comes first. `benchmarks table --run ID` and `benchmarks report --run ID` show one alone.
    """
    if context.invoked_subcommand is not None:
        context.default_map = {context.invoked_subcommand: {"store": store, "as_json": as_json}}
        return
    from benchmarks.report.listing import lines, listed
    from featurestore import open as open_store

    found = listed(open_store(store))
    if as_json:
        print_json(found)
        return
    click.echo("\n".join(lines(found)))


@runs.command("diff", epilog=example("benchmarks runs diff cv-20260101 cv-20260102"))
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@store_option
@json_option
def runs_diff(first: str, second: str, store: str, as_json: bool) -> None:
    """Show what differs between the runs A and B.

    It compares images, labels, backbones, settings and versions, and tests the scores of each row over the splits that
    both runs have. Each run is named by its id, or the beginning of it.
    """
    from benchmarks.report.run_diff import as_json as to_json
    from benchmarks.report.run_diff import lines
    from benchmarks.results.diff import run_difference
    from featurestore import open as open_store

    found = run_difference(open_store(store), first, second)
    click.echo(to_json(found) if as_json else "\n".join(lines(found)))
