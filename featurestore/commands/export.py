"""The command `export`."""

from collections.abc import Sequence
from pathlib import Path

import click

from featurestore.commands.options import PATH, example, json_option, print_json, snapshot_option, store_option
from featurestore.progress import ConsoleProgress

FORMS = ("parquet", "npz", "npy", "csv.gz", "study-embeddings", "study-labeled", "bundle", "delta")


@click.command(
    epilog=example(
        "featurestore export --backbone descriptors --label Genre1 -o features.npz",
        "featurestore export --backbone descriptors --where \"Genre1 = 'Crime'\" -o crime.parquet",
        "featurestore export --backbone descriptors --label Genre1 --format bundle -o posters.bundle",
    )
)
@store_option
@snapshot_option
@click.option(
    "--backbone",
    required=True,
    multiple=True,
    help="Whose embeddings are written. Repeat it to put the vectors of several side by side; in the format delta each "
    "backbone is a table.",
)
@click.option("--view", help="The rows to write: a view with a column ImgId.  [default: labeled]")
@click.option("--columns", help="Which columns of the view to write, separated by commas.  [default: all]")
@click.option("--label", help="The column of the view with the label; it is written as y.")
@click.option("--where", metavar="SQL", help="Write only the rows for which this condition holds.")
@click.option(
    "--ids",
    type=PATH,
    help="Write only the images in this file, in its order: CSV or Parquet with ImgId or ImgName, .npy, or one a line.",
)
@click.option("--limit", type=click.IntRange(0), help="Write only this many rows, the first ones.")
@click.option(
    "--format",
    type=click.Choice(FORMS),
    help="How it is written.  [default: by the ending of --output, parquet without one]",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    help="The file to write; in the formats bundle and delta the folder.",
)
@click.option("--force", is_flag=True, help="Replace the file or folder if it exists.")
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
    """Write embeddings and labels to a file for other programs.

    A bundle is a folder that another project can pin: its lock is a checksum of everything in it.
    """
    from featurestore import FeatureStore

    chosen = [name.strip() for name in columns.split(",")] if columns else None
    with (
        FeatureStore.open(store, snapshot=snapshot, isolated=True) as opened,
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
        print_json({"output": str(output)} | {name: getattr(report, name) for name in names})
        return
    left_out = f", {report.missing:,} without embedding left out" if report.missing else ""
    width = "" if report.lock else f" of {report.embed_dim:,} values"
    lock = f", lock {report.lock}" if report.lock else ""
    click.echo(f"{', '.join(map(str, report.files))}: {report.rows:,} rows{width}{left_out}{lock}")
    if report.synthetic:
        click.echo("SYNTHETIC: images or weights of these features are made up", err=True)
