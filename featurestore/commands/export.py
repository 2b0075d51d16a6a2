"""The command `export`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from featurestore.commands.options import FOLDER, json_option, location_option, snapshot_option
from featurestore.progress import ConsoleProgress

FORMS = ("parquet", "npz", "npy", "csv.gz", "study-embeddings", "study-labeled", "bundle")


@click.command()
@location_option
@snapshot_option
@click.option("--backbone", "backbones", required=True, multiple=True, help="Repeatable: side by side.")
@click.option("--view", default="labeled", show_default=True, help="A view with ImgId.")
@click.option("--columns", help="Columns of the view to keep, separated by commas.  [default: all]")
@click.option("--label", help="The column that becomes y.")
@click.option("--where", metavar="SQL", help="Only rows of the view that satisfy this condition.")
@click.option(
    "--ids",
    "id_file",
    type=FOLDER,
    help="Only the ids in this file, in its order: csv or parquet with ImgId, npy, lines.",
)
@click.option("--limit", type=click.IntRange(0), help="Only the first so many rows.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMS),
    help="What is written.  [default: what --output ends with, parquet without an ending]",
)
@click.option("-o", "--output", type=FOLDER, required=True, help="File, or for a bundle the new folder.")
@click.option("--force", is_flag=True, help="Replace the file, or the bundle, that is there.")
@json_option
@click.pass_context
def export(
    context: click.Context,
    store: str,
    snapshot: str | None,
    backbones: Sequence[str],
    view: str,
    columns: str | None,
    label: str | None,
    where: str | None,
    id_file: Path | None,
    limit: int | None,
    form: str | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Write features to a file, or to a bundle that another project pins."""
    from featurestore.embedding.vector_files import read_ids_file
    from featurestore.features import export as files
    from featurestore.features.bundle import write_bundle
    from featurestore.store import open_store
    from featurestore.suffixes import format_of

    form = format_of(output, form, files.SUFFIXES)
    lock, written = None, [output]
    ids = None if id_file is None else read_ids_file(id_file)
    with open_store(store, snapshot=snapshot) as opened, ConsoleProgress(f"export {form}", "rows") as progress:
        if form in files.LAYOUTS:
            _check_layout(context, form, backbones)
            features = files.layout(opened, backbones[0], form, where=where, ids=ids, limit=limit)
        else:
            names = [name.strip() for name in columns.split(",")] if columns else None
            features = opened.features(
                list(backbones), view=view, columns=names, label=label, where=where, ids=ids, limit=limit
            )
        if form == "bundle":
            chosen = {"where": where, "ids": None if ids is None else len(ids), "limit": limit}
            lock = write_bundle(opened, features, output, view=view, chosen=chosen, force=force, on_progress=progress)
        else:
            kind = "csv.gz" if form in files.LAYOUTS else form
            written = files.write(features, output, kind, force=force, on_progress=progress)
    rows, embed_dim = features.X.shape
    if as_json:
        report = {"output": str(output), "rows": rows, "embed_dim": embed_dim, "missing": features.missing}
        click.echo(json.dumps(report | {"synthetic": features.synthetic, "lock": lock}))
        return
    left_out = f", {features.missing:,} without embedding left out" if features.missing else ""
    what = f"{rows:,} rows{left_out}, lock {lock}" if lock else f"{rows:,} rows of {embed_dim:,} values{left_out}"
    click.echo(f"{', '.join(map(str, written))}: {what}")
    if features.synthetic:
        click.echo("SYNTHETIC: images or weights of these features are made up", err=True)


def _check_layout(context: click.Context, form: str, backbones: Sequence[str]) -> None:
    """The study's layouts fix view and columns: an option that would change them is refused, not passed over."""
    if len(backbones) > 1:
        raise click.UsageError(f"{form} holds one backbone, got {len(backbones)}")
    for name in ("view", "columns", "label"):
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"{form} has its own view and columns: leave out --{name}, or use csv.gz")
