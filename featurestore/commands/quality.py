"""The command `quality`."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from featurestore.commands.options import PATH, example, json_option, print_json, snapshot_option, store_option
from featurestore.commands.texts import quality_text
from featurestore.progress import ConsoleProgress


@click.command(epilog=example("featurestore quality", "featurestore quality --cosine 0.999 --strict"))
@store_option
@snapshot_option
@click.option(
    "--backbone", multiple=True, help="Check the embeddings of this backbone alone; repeatable.  [default: all]"
)
@click.option(
    "--hash-distance",
    type=int,
    default=4,
    show_default=True,
    help="Two images are near duplicates if at most this many of the 64 bits of their perceptual hashes differ.",
)
@click.option(
    "--cosine",
    type=float,
    default=0.98,
    show_default=True,
    help="Two images are near duplicates if the cosine of their embeddings is at least this.",
)
@click.option(
    "--split",
    type=PATH,
    help="A CSV file with the columns ImgId and side (train or test): also report test images with a duplicate in the "
    "training part.",
)
@click.option("--strict", is_flag=True, help="End with the exit code 1 if anything is found.")
@json_option
def quality(
    store: str,
    snapshot: str | None,
    backbone: Sequence[str],
    hash_distance: int,
    cosine: float,
    split: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Find duplicates, leakage, broken files and bad vectors.

    Nothing is changed. Duplicates with different labels are named too.
    """
    from featurestore import FeatureStore

    with (
        FeatureStore.open(store, snapshot=snapshot) as opened,
        ConsoleProgress("quality", "vectors") as progress,
    ):
        report = opened.quality(
            backbone=backbone or None,
            hash_distance=hash_distance,
            cosine=cosine,
            split=split,
            on_progress=progress,
        )
    if as_json:
        print_json(asdict(report))
        return
    click.echo(quality_text(report))
    if strict and report.faults:
        raise click.exceptions.Exit(1)
