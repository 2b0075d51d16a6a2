"""The command `import-embeddings`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from featurestore.commands.options import PATH, example, json_option, print_json, store_option, wait_option
from featurestore.commands.vectors import say_what_follows, tell_of_revision
from featurestore.terminal import visible


@click.command(
    "import-embeddings",
    epilog=example(
        "featurestore import-embeddings vectors.parquet --backbone theirs",
        "featurestore import-embeddings vectors.npy --ids names.txt --backbone theirs",
        "featurestore import-embeddings vectors.npz --backbone theirs --metadata table.csv --label species",
    ),
)
@store_option
@click.argument("file", type=PATH)
@click.option("--backbone", required=True, help="The name of these embeddings in the store.")
@click.option(
    "--ids",
    type=PATH,
    help="For .npy, and for .npz without ids: a file with the id or name of each vector's image, .npy or one a line.",
)
@click.option("--metadata", type=PATH, help="A table with a row for each image, to read first.")
@click.option("--key", help="The column of the table that names the image.  [default: guessed]")
@click.option(
    "--label",
    multiple=True,
    help="The column of the table with the label. Repeat it where an image can have several labels.  "
    "[default: guessed]",
)
@click.option("--synthetic", is_flag=True, help="The vectors are made up: mark all results as SYNTHETIC.")
@wait_option
@json_option
def import_embeddings(
    store: str,
    file: Path,
    backbone: str,
    ids: Path | None,
    metadata: Path | None,
    key: str | None,
    label: Sequence[str],
    synthetic: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Store embeddings that were computed elsewhere.

    FILE is CSV, also .csv.gz, Parquet, .npz, .npy with --ids, or the folder of img_emb_*.npy that clip-retrieval
    writes. Its rows find their images by ImgId or by name. Without a store, one is created.
    """
    from featurestore import FeatureStore

    opened = FeatureStore(store)
    report = opened.import_embeddings(
        file,
        backbone=backbone,
        ids=ids,
        metadata=metadata,
        key=key,
        label=label or None,
        synthetic=synthetic,
        wait_seconds=wait_seconds,
    )
    if as_json:
        print_json(asdict(report))
        return
    click.echo(
        f"{report.backbone} (revision {report.revision}, {report.embed_dim}-d): {report.rows:,} vectors read, "
        f"{report.added:,} added, {report.external:,} for images that no folder has"
    )
    for note in report.notes:
        click.echo(f"note: {visible(note)}")
    tell_of_revision(report)
    say_what_follows(opened, report.backbone)
