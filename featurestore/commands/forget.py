"""The command `forget`."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurestore.commands.options import PATH, example, json_option, print_json, store_option, wait_option
from featurestore.commands.texts import short
from featurestore.progress import ConsoleProgress

if TYPE_CHECKING:
    from featurestore.forgetting.forget import ForgetReport

# How many files, ids and sentences of one kind are shown.
SHOWN = 10
SEVERAL = "images with the same bytes stay, with their"


@click.command(
    epilog=example(
        "featurestore forget 10485 --dry-run",
        "featurestore forget 10485 11162 --yes",
        "featurestore forget --ids withdrawn.txt",
    )
)
@store_option
@click.argument("ids", metavar="[IMG_ID]...", type=int, nargs=-1)
@click.option(
    "--ids",
    "file",
    type=PATH,
    help="The images in this file: CSV or Parquet with ImgId or ImgName, .npy, or one a line; - for standard input.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether it is meant, for scripts.")
@wait_option
@json_option
def forget(
    store: str,
    ids: Sequence[int],
    file: Path | None,
    dry_run: bool,
    yes: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Remove images for good, from all states and snapshots.

    Their metadata, vectors, predictions and corrections go too, and can't be brought back. Exports, saved models and
    the image files themselves are not reached: remove a file first, or the next `ingest` reads it again.
    """
    from featurestore import FeatureStore

    opened = FeatureStore(store)
    wanted = _wanted(ids, file)
    if not yes and not dry_run:
        if file == Path("-") or not is_a_person():
            raise click.UsageError("nobody can be asked whether it is meant: add --yes, or look first with --dry-run")
        click.echo(forget_text(opened.forget(wanted, dry_run=True, wait_seconds=wait_seconds), done=False), err=as_json)
        if not click.confirm("remove all of this for good?", err=as_json):
            click.echo("nothing was forgotten", err=as_json)
            raise click.exceptions.Exit(1)
    with ConsoleProgress("forget", "parts") as progress:
        report = opened.forget(wanted, dry_run=dry_run, wait_seconds=wait_seconds, on_progress=progress)
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(forget_text(report, done=not dry_run))


def is_a_person() -> bool:
    """Whether somebody can answer a question."""
    return sys.stdin.isatty()


def _wanted(ids: Sequence[int], file: Path | None) -> list[int] | Path:
    """The ids that were typed, or the file that lists them; standard input has one on each line."""
    if bool(ids) == (file is not None):
        raise click.UsageError("name images by their IMG_ID, or a file of them with --ids: either of the two")
    if file is None:
        return list(ids)
    if file != Path("-"):
        return file
    words = sys.stdin.read().split()
    wrong = next((word for word in words if not (word.isascii() and word.isdigit())), None)
    if wrong is not None:
        raise click.UsageError(f"got {wrong[:80]!r} on standard input, expected an ImgId on each line")
    return list(map(int, words))


def forget_text(report: "ForgetReport", *, done: bool) -> str:
    """What was removed, or would be, as a few lines."""
    count = len(report.ids)
    lines = [f"{count:,} image{'' if count == 1 else 's'} {'forgotten' if done else 'to forget'}"]
    found = {**report.rows, **{f"snapshot {name}": rows for name, rows in report.snapshots.items()}}
    lines += [f"  {name:<32}{rows:>12,} row{'' if rows == 1 else 's'}" for name, rows in found.items()]
    if report.same_bytes:
        ids = ", ".join(map(str, report.same_bytes[:SHOWN])) + (", …" if len(report.same_bytes) > SHOWN else "")
        stay = "image with the same bytes stays, with its" if len(report.same_bytes) == 1 else SEVERAL
        lines.append(f"{len(report.same_bytes):,} other {stay} vectors: {ids}")
    lines += [short(f"still there: {place}") for place in report.still_there[:SHOWN]]
    if len(report.still_there) > SHOWN:
        lines.append(f"… and {len(report.still_there) - SHOWN:,} more files that are still there")
    if report.still_there:
        lines.append("remove these files too: the next `ingest` or `embed` reads them again")
    lines += [f"note: {sentence}" for sentence in map(short, report.mentions[:SHOWN])]
    if len(report.mentions) > SHOWN:
        lines.append(f"… and {len(report.mentions) - SHOWN:,} more notes: featurestore forget --json")
    return "\n".join(lines)
