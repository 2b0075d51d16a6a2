"""The command `quality`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from featurestore.commands.options import PATH, json_option, snapshot_option, store_option
from featurestore.commands.texts import quality_text
from featurestore.progress import ConsoleProgress


@click.command()
@store_option
@snapshot_option
@click.option("--backbone", multiple=True, help="Repeatable.  [default: all in the store]")
@click.option(
    "--hash-distance",
    type=int,
    default=4,
    show_default=True,
    help="Maximum number of differing bits of near duplicates.",
)
@click.option("--cosine", type=float, default=0.98, show_default=True, help="Minimum cosine of near duplicates.")
@click.option("--split", type=PATH, help="CSV with ImgId,side (train or test): report duplicates across both.")
@click.option("--strict", is_flag=True, help="Exit with 1 when anything is found.")
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
    """Find duplicates, leakage, broken files and invalid vectors."""
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
    click.echo(json.dumps(asdict(report)) if as_json else quality_text(report))
    if strict and report.faults:
        raise click.exceptions.Exit(1)
