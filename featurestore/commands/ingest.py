"""The command `ingest`: images and their metadata become rows of the store."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurestore.commands.options import PATH, PLACE, json_option, named_columns, store_option, wait_option
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


@click.command()
@store_option
@click.option(
    "--images",
    type=PLACE,
    multiple=True,
    help="A folder of images or class folders, also s3://bucket/folder, or a file with images; repeatable.",
)
@click.option("--metadata", type=PATH, help="A table with a row for each image.")
@click.option("--key", help="The column that names the image.  [default: guessed]")
@click.option(
    "--label", multiple=True, help="The column with the label; several make it multi-label.  [default: guessed]"
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=COLUMN",
    callback=named_columns,
    help="Movies: the file's name of the column that is stored as NAME, as in imdbId=Id; repeatable.",
)
@click.option("--recipe", help="The collection type, such as movies or general.  [default: by the columns]")
@click.option("--top-genres", type=int, help="Movies: how many genres the view `labeled` keeps.  [default: 4]")
@click.option("--follow-links", is_flag=True, help="Follow symbolic links that lead out of a folder of images.")
@click.option("--dry-run", is_flag=True, help="Only show what would be stored.")
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
    """Update the store to match images and their metadata."""
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
