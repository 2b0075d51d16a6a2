"""The command `quality`."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from featurestore.commands.options import FOLDER, json_option, location_option, snapshot_option
from featurestore.progress import ConsoleProgress


@click.command()
@location_option
@snapshot_option
@click.option("--backbone", "backbones", multiple=True, help="Repeatable.  [default: all in the store]")
@click.option("--hash-distance", type=int, default=4, show_default=True, help="Bits in which near duplicates differ.")
@click.option("--cosine", type=float, default=0.98, show_default=True, help="Cosine of near duplicates.")
@click.option("--split", type=FOLDER, help="CSV with ImgId,side (train or test): report duplicates on both sides.")
@click.option("--strict", is_flag=True, help="Exit with 1 when anything is found.")
@json_option
def quality(
    store: str,
    snapshot: str | None,
    backbones: Sequence[str],
    hash_distance: int,
    cosine: float,
    split: Path | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Find duplicates, leakage, bad files and bad vectors."""
    from featurestore.explore.quality import check, render
    from featurestore.store import open_store

    sides = None if split is None else _read_split(split)
    with open_store(store, snapshot=snapshot) as opened, ConsoleProgress("quality", "vectors") as progress:
        report = check(
            opened,
            backbones=list(backbones) or None,
            hash_distance=hash_distance,
            cosine=cosine,
            split=sides,
            on_progress=progress,
        )
    click.echo(json.dumps(asdict(report)) if as_json else render(report))
    if strict and report.faults:
        raise click.exceptions.Exit(1)


def _read_split(path: Path) -> dict[int, str]:
    from featurestore.errors import InputError
    from featurestore.files import MEGABYTE, read_file, why

    try:
        text = read_file(path, limit=256 * MEGABYTE, pipes=True).decode("utf-8")
        return {int(row["ImgId"]): row["side"] for row in csv.DictReader(io.StringIO(text, newline=""))}
    except (OSError, KeyError, ValueError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{str(path)!r} is no split ({why(error)}): expected a CSV with the columns ImgId and side"
        ) from error
