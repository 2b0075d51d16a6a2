"""The commands that bring images and their metadata: `sample`, `fetch` and `ingest`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurestore.commands.options import (
    PATH,
    PLACE,
    SEED,
    example,
    json_option,
    named_columns,
    print_json,
    say_next,
    store_option,
    wait_option,
)
from featurestore.commands.texts import counts_text, json_text, short
from featurestore.progress import ConsoleProgress
from featurestore.terminal import visible

if TYPE_CHECKING:
    from featurestore.collections.report import IngestReport

# How many quarantined files and renamed images are listed, how many notes, and how many columns of a row.
LISTED, MOST_NOTES, MOST_COLUMNS = 10, 15, 12
# An ingest prints at most 60 lines: these, the line of what is left out, and what follows the report.
MOST_LINES = 54
# The width of the names of steps.
WIDTH = 24
PROBLEMS = "featurestore info --problems"
# How many characters of a name or a value are shown.
WIDEST = 60


@click.command(epilog=example("featurestore sample sample"))
@click.argument("directory", type=PATH)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Another seed draws another collection.")
@json_option
def sample(directory: Path, seed: int, as_json: bool) -> None:
    """Write a synthetic collection to try everything on.

    It writes drawn posters and a table of made-up movies into the new folder DIRECTORY. Everything that is made of
    them says SYNTHETIC.
    """
    from featurestore.collections.movies.sample import METADATA, POSTERS, write_sample

    with ConsoleProgress("sample", "posters") as progress:
        write_sample(directory, seed=seed, on_progress=progress)
    metadata, images = directory / METADATA, directory / POSTERS
    if as_json:
        print_json({"metadata": str(metadata), "images": str(images), "synthetic": True})
        return
    click.echo(f"synthetic collection written to {directory}")
    say_next(f"featurestore ingest --metadata {shlex.quote(str(metadata))} --images {shlex.quote(str(images))}")


@click.command(epilog=example("featurestore fetch data", "featurestore fetch data --only collection"))
@click.argument("directory", type=PATH, default=Path("data"))
@click.option(
    "--only",
    multiple=True,
    help="Download this part alone: collection, inception_v3 or resnet_v2_50; repeatable.  [default: all three]",
)
@json_option
def fetch(directory: Path, only: Sequence[str], as_json: bool) -> None:
    """Download the study's real collection and weights.

    The movie posters, their metadata and the weights of two backbones are written into DIRECTORY, or into the folder
    data. This needs a network; what can't be downloaded is named, with the reason.
    """
    from featurestore.collections.movies.fetch import PARTS
    from featurestore.collections.movies.fetch import fetch as run

    report = run(directory, what=only or PARTS, report=lambda sentence: click.echo(sentence, err=as_json))
    if as_json:
        print_json(asdict(report))
    if report.missing:
        raise click.exceptions.Exit(1)


@click.command(
    epilog=example(
        "featurestore ingest --images photos",
        "featurestore ingest --images photos --metadata table.csv --key file --label species",
        "featurestore ingest --images photos --dry-run",
    )
)
@store_option
@click.option(
    "--images",
    type=PLACE,
    multiple=True,
    help="A folder of images, with or without a folder for each class; an address such as s3://bucket/folder; or a "
    "Parquet, Arrow or tar file with images in it. Repeatable.  [default: the same as last time]",
)
@click.option("--metadata", type=PATH, help="A table with a row for each image: CSV, JSON, JSON lines or Parquet.")
@click.option("--key", help="The column of the table that names the image.  [default: guessed]")
@click.option(
    "--label",
    multiple=True,
    help="The column of the table with the label. Repeat it where an image can have several labels.  "
    "[default: guessed]",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=COLUMN",
    callback=named_columns,
    help="For movies: store the table's COLUMN under the name NAME, as in imdbId=Id; repeatable.",
)
@click.option(
    "--recipe",
    help="The collection type: movies, general, or one that an installed package brings.  "
    "[default: movies if the table has imdbId and Genre, otherwise general]",
)
@click.option(
    "--top-genres",
    type=int,
    help="For movies: label the images of this many of the most frequent genres.  [default: 4]",
)
@click.option("--follow-links", is_flag=True, help="Also read images behind links that lead out of their folder.")
@click.option("--dry-run", is_flag=True, help="Show what would be stored, and write nothing.")
@wait_option
@json_option
def ingest(
    store: str,
    images: Sequence[str | Path],
    metadata: Path | None,
    key: str | None,
    label: Sequence[str],
    columns: Mapping[str, str],
    recipe: str | None,
    top_genres: int | None,
    follow_links: bool,
    dry_run: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Read images and their metadata into the store.

    The first call creates the store; a later one adds what is new, and hides images that are gone. Images are read
    from where they are and never copied. What did not fit is counted, and `featurestore info --problems` lists it.
    """
    from featurestore import FeatureStore

    with ConsoleProgress("ingest", "images") as progress:
        report = FeatureStore(store).ingest(
            images=images,
            metadata=metadata,
            key=key,
            label=label,
            columns=columns,
            recipe=recipe,
            top_genres=top_genres,
            follow_links=follow_links,
            dry_run=dry_run,
            wait_seconds=wait_seconds,
            on_progress=progress,
        )
    if as_json:
        click.echo(json_text(asdict(report)))
        return
    for line in report_lines(report):
        click.echo(line)
    if dry_run:
        for row in report.first:
            click.echo(_row_text(row))
        click.echo("dry run: nothing was written")
        return
    click.echo(f"store {store}: {'written' if report.changed else 'nothing changed'}")
    if report.changed:
        say_next("featurestore embed --backbone descriptors", store=store)


def report_lines(report: "IngestReport") -> list[str]:
    """The result of an ingest: what was guessed, the rows after each step, and the first of what did not fit."""
    lines = [f"note: {short(note)}" for note in report.notes[:MOST_NOTES]]
    if len(report.notes) > MOST_NOTES:
        lines.append(f"… and {len(report.notes) - MOST_NOTES:,} more notes: use --json to see all")
    steps = {
        **report.steps,
        "images found": report.images_found,
        "quarantined": len(report.broken),
        **{kind: count for kind, count in report.problems.items() if kind != "refused image"},
        "joined": report.joined,
        "labelled": report.labeled,
    }
    width = max(WIDTH, *(len(name) + 1 for name in steps))
    for name, count in steps.items():
        note = f"({report.files_ignored} other files)" if name == "images found" and report.files_ignored else ""
        lines.append(f"{name:<{width}}{count:>8,}  {note}".rstrip())
    if report.labels:
        lines.append(f"{'labels':<{width}}{counts_text(report.labels)}")
    renamed = [f"renamed {old!r} to {new!r}, by its bytes" for old, new in report.renamed.items()]
    renamed = _first(renamed, "use --json", most=LISTED)
    broken = [f"quarantined {name!r}: {reason}" for name, reason in report.broken.items()]
    lines += _first(broken, PROBLEMS, most=max(LISTED, MOST_LINES - len(lines) - len(renamed))) + renamed
    if report.synthetic:
        lines.append("SYNTHETIC: these images were drawn by `featurestore sample`")
    return lines


def _first(lines: Sequence[str], where: str, *, most: int) -> list[str]:
    more = [f"… and {len(lines) - most:,} more: {where}"] if len(lines) > most else []
    return [*map(short, lines[:most]), *more]


def _row_text(row: Mapping[str, Any]) -> str:
    """The first columns of a row in one line."""
    from featurestore import label_text

    cells = [f"{visible(name)[:WIDEST]}={visible(label_text(row[name])[:WIDEST])}" for name in list(row)[:MOST_COLUMNS]]
    more = [f"… and {len(row) - MOST_COLUMNS:,} more columns"] if len(row) > MOST_COLUMNS else []
    return "  ".join(cells + more)
