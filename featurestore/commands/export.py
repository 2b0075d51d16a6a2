"""The command `export`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from featurestore.commands.options import PATH, json_option, snapshot_option, store_option
from featurestore.progress import ConsoleProgress

FORMS = ("parquet", "npz", "npy", "csv.gz", "study-embeddings", "study-labeled", "bundle", "delta")


@click.command()
@store_option
@snapshot_option
@click.option(
    "--backbone", required=True, multiple=True, help="Repeatable: vectors are concatenated; delta: a table for each."
)
@click.option("--view", help="A view with a column ImgId.  [default: labeled]")
@click.option("--columns", help="Columns of the view to keep, separated by commas.  [default: all]")
@click.option("--label", help="The column that becomes y.")
@click.option("--where", metavar="SQL", help="Only rows of the view that satisfy this condition.")
@click.option(
    "--ids",
    type=PATH,
    help="Only the ids in this file, in its order: csv or parquet with ImgId or ImgName, npy, or one per line.",
)
@click.option("--limit", type=click.IntRange(0), help="Maximum number of rows, the first ones.")
@click.option(
    "--format",
    type=click.Choice(FORMS),
    help="File format.  [default: by the suffix of --output, parquet without one]",
)
@click.option(
    "-o", "--output", type=PATH, required=True, help="The file to write; for a bundle or Delta tables the new folder."
)
@click.option("--force", is_flag=True, help="Replace an existing file or folder.")
@json_option
def export(
    store: str,
    snapshot: str | None,
    backbone: Sequence[str],
    view: str | None,
    columns: str | None,
    label: str | None,
    where: str | None,
    ids: Path | None,
    limit: int | None,
    format: str | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write features to a file, or to a bundle that another project can pin."""
    from featurestore import FeatureStore

    chosen = [name.strip() for name in columns.split(",")] if columns else None
    with (
        FeatureStore.open(store, snapshot=snapshot) as opened,
        ConsoleProgress("export", "rows") as progress,
    ):
        report = opened.export(
            backbone,
            output,
            format=format,
            view=view,
            columns=chosen,
            label=label,
            where=where,
            ids=ids,
            limit=limit,
            force=force,
            on_progress=progress,
        )
    if as_json:
        names = ("rows", "embed_dim", "missing", "synthetic", "lock")
        click.echo(json.dumps({"output": str(output)} | {name: getattr(report, name) for name in names}))
        return
    left_out = f", {report.missing:,} without embedding left out" if report.missing else ""
    width = "" if report.lock else f" of {report.embed_dim:,} values"
    lock = f", lock {report.lock}" if report.lock else ""
    click.echo(f"{', '.join(map(str, report.files))}: {report.rows:,} rows{width}{left_out}{lock}")
    if report.synthetic:
        click.echo("SYNTHETIC: images or weights of these features are made up", err=True)
