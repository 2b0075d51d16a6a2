"""The command `featurestore`: parses arguments, calls `FeatureStore`, prints; it holds no logic."""

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from featurestore import __version__
from featurestore.commands.backbone import backbone, backbones
from featurestore.commands.embed import embed, import_embeddings, publish
from featurestore.commands.explore import explore, project
from featurestore.commands.export import export
from featurestore.commands.ingest import ingest
from featurestore.commands.label import label
from featurestore.commands.options import (
    PATH,
    SEED,
    json_option,
    run_command,
    snapshot_option,
    store_option,
    write_output,
)
from featurestore.commands.parts import parts
from featurestore.commands.quality import quality
from featurestore.commands.search import similar
from featurestore.commands.state import compact, gc, lineage, repair, snapshot, verify, view
from featurestore.commands.texts import json_text, summary_text
from featurestore.progress import ConsoleProgress


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Store cleaned metadata and frozen image embeddings, and query them in SQL."""


@cli.command()
@store_option
@click.argument("query")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet", "arrow"]),
    help="Format of the result.  [default: by the suffix of --output, else table]",
)
@click.option("-o", "--output", type=PATH, help="Write to this file instead of the screen.")
@click.option("--timeout", "seconds", type=float, default=300.0, show_default=True, help="Time limit in seconds.")
@snapshot_option
def sql(store: str, query: str, form: str | None, output: Path | None, seconds: float, snapshot: str | None) -> None:
    """Run one SELECT over the store's views; it can read nothing else and change nothing."""
    from featurestore import FeatureStore
    from featurestore.commands.formats import SUFFIXES, run_to_bytes
    from featurestore.files import format_of

    form = (form or "table") if output is None else format_of(output, form, SUFFIXES)
    if output is None and form in ("parquet", "arrow") and sys.stdout.isatty():
        raise click.UsageError(f"{form} is a binary format: name a file with --output, or pipe it")
    with FeatureStore.open(store, snapshot=snapshot) as opened:
        content = run_to_bytes(opened, query, form, seconds=seconds)
    if output is not None:
        write_output(output, content)
        click.echo(f"{output}: {len(content):,} bytes", err=True)
    else:
        sys.stdout.buffer.write(content)


@cli.command()
@store_option
@snapshot_option
@click.option("--problems", is_flag=True, help="List what did not fit, as the view `problems` does.")
@json_option
def info(store: str, snapshot: str | None, problems: bool, as_json: bool) -> None:
    """Summarize the store: tables, coverage of each backbone, quarantined files and the reasons."""
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        summary = opened.info(problems=problems)
    click.echo(json_text(summary) if as_json else summary_text(summary))


@cli.command()
@click.argument("directory", type=PATH)
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the random generator.")
@json_option
def sample(directory: Path, seed: int, as_json: bool) -> None:
    """Write a synthetic collection, similar to the study's, into DIRECTORY."""
    from featurestore.collections.movies.sample import METADATA, POSTERS, write_sample

    with ConsoleProgress("sample", "posters") as progress:
        write_sample(directory, seed=seed, on_progress=progress)
    metadata, images = directory / METADATA, directory / POSTERS
    if as_json:
        click.echo(json.dumps({"metadata": str(metadata), "images": str(images), "synthetic": True}))
        return
    click.echo(
        f"synthetic collection written; next: featurestore ingest --metadata {shlex.quote(str(metadata))} "
        f"--images {shlex.quote(str(images))}"
    )


@cli.command()
@click.argument("directory", type=PATH, default=Path("data"))
@click.option("--only", multiple=True, help="collection, inception_v3 or resnet_v2_50; repeatable.  [default: all]")
@json_option
def fetch(directory: Path, only: Sequence[str], as_json: bool) -> None:
    """Download the real collection and the backbones' weights into DIRECTORY."""
    from featurestore.collections.movies.fetch import PARTS
    from featurestore.collections.movies.fetch import fetch as run

    report = run(directory, what=only or PARTS, report=lambda sentence: click.echo(sentence, err=as_json))
    if as_json:
        click.echo(json.dumps(asdict(report)))
    if report.missing:
        raise click.exceptions.Exit(1)


for command in (
    ingest,
    embed,
    publish,
    import_embeddings,
    backbones,
    backbone,
    lineage,
    snapshot,
    view,
    gc,
    verify,
    repair,
    compact,
):
    cli.add_command(command)
for command in (repair, compact, similar, quality, explore, project, parts, export, label):
    cli.add_command(command)


def main() -> None:
    """Entry point: an error becomes one line on stderr and an exit code, not a traceback."""
    sys.exit(run_command(cli, "featurestore"))


if __name__ == "__main__":
    main()
