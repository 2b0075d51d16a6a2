"""The commands `label …`: correct labels of single images, undo it, list and export what was corrected."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from featurestore.commands.options import (
    PATH,
    exact_option,
    example,
    json_option,
    print_json,
    snapshot_option,
    store_option,
    wait_option,
)
from featurestore.commands.texts import correction_text, json_text

column_option = click.option("--column", help="The column of the view `collection`.  [default: that of the label]")
all_option = click.option("--all", "undone", is_flag=True, help="Also those that were undone or corrected again.")
ids_argument = click.argument("ids", metavar="IMG_ID...", type=int, nargs=-1, required=True)


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


@click.group(epilog=example("featurestore label correct 10485 11162 --to Crime", "featurestore label list"))
def label() -> None:
    """Correct labels of single images.

    What was read is kept, and a later ingest keeps the correction.
    """


@label.command("correct", epilog=example("featurestore label correct 10485 11162 --to Crime"))
@store_option
@ids_argument
@click.option("--to", multiple=True, required=True, help="The right value; repeatable for a column of lists.")
@column_option
@wait_option
@json_option
def label_correct(
    store: str, ids: Sequence[int], to: Sequence[str], column: str | None, wait_seconds: float, as_json: bool
) -> None:
    """Correct the label of the images IMG_ID."""
    from featurestore import FeatureStore

    report = FeatureStore(store).correct_labels(ids, to, column=column, wait_seconds=wait_seconds)
    if as_json:
        print_json(asdict(report))
        return
    had = f", {report.unchanged:,} had it already" if report.unchanged else ""
    click.echo(f"{report.column} of {_images(report.changed)} corrected{had}")
    if report.note:
        click.echo(f"note: {report.note}")


@label.command("undo", epilog=example("featurestore label undo 10485"))
@store_option
@ids_argument
@column_option
@wait_option
@json_option
def label_undo(store: str, ids: Sequence[int], column: str | None, wait_seconds: float, as_json: bool) -> None:
    """Undo the corrections of the images IMG_ID.

    What was read is shown again.
    """
    from featurestore import FeatureStore

    report = FeatureStore(store).uncorrect_labels(ids, column=column, wait_seconds=wait_seconds)
    if as_json:
        print_json(asdict(report))
        return
    had = f", {report.unchanged:,} had no correction" if report.unchanged else ""
    click.echo(f"{report.column} of {_images(report.changed)} is again as it was read{had}")


@label.command("list", epilog=example("featurestore label list"))
@store_option
@snapshot_option
@all_option
@json_option
def label_list(store: str, snapshot: str | None, undone: bool, as_json: bool) -> None:
    """List the corrections, oldest first.

    Where the source says something else by now, that is shown too.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        rows = opened.corrections(undone=undone).to_pylist()
    if as_json:
        click.echo(json_text(rows))
        return
    for row in rows:
        click.echo(correction_text(row))
    if not rows:
        click.echo("no label is corrected: featurestore label correct IMG_ID --to VALUE")


@label.command("export", epilog=example("featurestore label export corrections.csv"))
@store_option
@snapshot_option
@click.argument("output", type=PATH)
@all_option
@exact_option
@json_option
def label_export(store: str, snapshot: str | None, output: Path, undone: bool, exact: bool, as_json: bool) -> None:
    """Write the corrections to the CSV file OUTPUT.

    It is for whoever keeps the labels where they came from.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        count = opened.export_corrections(output, undone=undone, exact=exact)
    if as_json:
        print_json({"file": str(output), "rows": count})
        return
    click.echo(f"{output}: {count:,} corrections")
