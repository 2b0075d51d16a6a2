"""The command `export`."""

from collections.abc import Sequence
from pathlib import Path

import click

from featurestore.commands.options import FOLDER, location_option, snapshot_option

FORMS = ("parquet", "npz", "npy", "csv.gz", "study-embeddings", "study-labeled", "bundle")


@click.command()
@location_option
@snapshot_option
@click.option("--backbone", "backbones", required=True, multiple=True, help="Repeatable: side by side.")
@click.option("--view", default="labeled", show_default=True, help="A view with ImgId.")
@click.option("--columns", help="Columns of the view to keep, separated by commas.  [default: all]")
@click.option("--label", help="The column that becomes y.")
@click.option(
    "--format", "form", type=click.Choice(FORMS), default="parquet", show_default=True, help="What is written."
)
@click.option("-o", "--output", type=FOLDER, required=True, help="File, or for a bundle the new folder.")
@click.option("--force", is_flag=True, help="Replace the file that is there.")
def export(
    store: str,
    snapshot: str | None,
    backbones: Sequence[str],
    view: str,
    columns: str | None,
    label: str | None,
    form: str,
    output: Path,
    force: bool,
) -> None:
    """Write features to a file, or to a bundle that another project pins."""
    from featurestore import export as files
    from featurestore.bundle import write_bundle
    from featurestore.store import open_store

    with open_store(store, snapshot=snapshot) as opened:
        if form in files.LAYOUTS:
            if len(backbones) > 1:
                raise click.UsageError(f"{form} holds one backbone, got {len(backbones)}")
            features = files.layout(opened, backbones[0], form)
        else:
            names = columns.split(",") if columns else None
            features = opened.features(list(backbones), view=view, columns=names, label=label)
        left_out = f", {features.missing:,} without embedding left out" if features.missing else ""
        if form == "bundle":
            lock = write_bundle(opened, features, output, view=view)
            click.echo(f"{output}: {len(features):,} rows{left_out}, lock {lock}")
            return
        files.write(features, output, "csv.gz" if form in files.LAYOUTS else form, force=force)
    click.echo(f"{output}: {len(features):,} rows of {features.X.shape[1]:,} values{left_out}")
