"""The commands that write vectors to the store: `embed` and `import-embeddings`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurestore.commands.options import (
    PATH,
    TensorName,
    backbone_file_option,
    chosen_backbone,
    json_option,
    preprocessing_option,
    store_option,
    verbose_option,
    wait_option,
)
from featurestore.progress import ConsoleProgress
from featurestore.terminal import visible

if TYPE_CHECKING:
    from featurestore.embedding.embed import EmbedReport
    from featurestore.embedding.importer import ImportReport


@click.command()
@store_option
@click.option("--backbone", help="A known name, or hf:DIR, onnx:FILE, tflite:FILE …; see `backbones`.")
@backbone_file_option
@verbose_option
@click.option("--weights", type=PATH, help="A local SavedModel folder instead of the hub's weights.")
@click.option("--tensor", type=TensorName(), help="tflite, onnx: name or number of the tensor that is the embedding.")
@click.option("--pooling", help="hf, torch: what of the output is the embedding.  [default: the model family's]")
@click.option(
    "--precision", type=click.Choice(["fp32", "bf16", "fp16", "int8"]), help="Each but fp32 is a revision of its own."
)
@preprocessing_option
@click.option("--name", help="Name in the store.  [default: the backbone's]")
@click.option("--synthetic", is_flag=True, help="The weights are random or made up: mark all results as synthetic.")
@click.option("--batch-size", type=int, default=32, show_default=True, help="Images per forward pass.")
@click.option("--other-engine", is_flag=True, help="Continue a revision that another engine computed.")
@click.option("--workers", type=int, help="Threads that decode images.  [default: the number of cores]")
@wait_option
@json_option
def embed(
    store: Path,
    backbone: str | None,
    backbone_file: Path | None,
    weights: Path | None,
    tensor: str | int | None,
    pooling: str | None,
    precision: str | None,
    preprocessing: Mapping[str, str],
    name: str | None,
    synthetic: bool,
    batch_size: int,
    workers: int | None,
    other_engine: bool,
    wait_seconds: float,
    as_json: bool,
) -> None:
    """Embed every image that has no embedding of this backbone yet."""
    from featurestore import FeatureStore

    chosen = chosen_backbone(backbone, backbone_file)
    if chosen is None:
        raise click.UsageError("name a backbone with --backbone or --backbone-file, as in --backbone descriptors")
    with ConsoleProgress(f"embed {name or chosen}", "images") as progress:
        report = FeatureStore(store).embed(
            chosen,
            name=name,
            weights=weights,
            tensor=tensor,
            pooling=pooling,
            precision=precision,
            preprocessing=preprocessing or None,
            synthetic=synthetic,
            batch_size=batch_size,
            workers=workers,
            other_engine=other_engine,
            wait_seconds=wait_seconds,
            on_progress=progress,
        )
    if as_json:
        click.echo(json.dumps(asdict(report) | {"images_per_second": report.images_per_second}))
    else:
        mark = ", SYNTHETIC WEIGHTS" if report.synthetic else ""
        click.echo(
            f"{report.backbone} (revision {report.revision}, {report.embed_dim}-d{mark}): {report.computed:,} computed "
            f"({report.images_per_second:,.1f} images/s), {report.reused:,} reused, {report.present:,} already there"
        )
        for note in report.notes:
            click.echo(f"note: {visible(note)}")
        _tell_of_revision(report)
        for image, reason in report.refused.items():
            click.echo(f"refused {image}: {reason}")
    if report.refused:
        raise click.exceptions.Exit(1)


def _tell_of_revision(report: "EmbedReport | ImportReport") -> None:
    """Print a line when the views of a backbone show another revision than before."""
    if report.replaced:
        click.echo(
            f"the views of {report.backbone} now show revision {report.revision} instead of {report.replaced}, "
            "which is kept in `embeddings` and in snapshots"
        )
    for sentence in report.failing_views.values():
        click.echo(sentence)


@click.command("import-embeddings")
@store_option
@click.argument("file", type=PATH)
@click.option("--backbone", required=True, help="Name in the store.")
@click.option("--ids", type=PATH, help="For .npy and .npz: a file of ids or names, .npy or one per line.")
@click.option("--metadata", type=PATH, help="A table to ingest first; without a store, one is created.")
@click.option("--key", help="The column of the table that names the image.  [default: guessed]")
@click.option("--label", multiple=True, help="The column of the table with the label; repeatable.  [default: guessed]")
@click.option("--synthetic", is_flag=True, help="The vectors are made up: mark all results as synthetic.")
@wait_option
@json_option
def import_embeddings(
    store: Path,
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
    """Store vectors computed elsewhere: csv, csv.gz, parquet, npz, npy with --ids, clip-retrieval's img_emb_*.npy."""
    from featurestore import FeatureStore

    report = FeatureStore(store).import_embeddings(
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
        click.echo(json.dumps(asdict(report)))
        return
    click.echo(
        f"{report.backbone} (revision {report.revision}, {report.embed_dim}-d): {report.rows:,} vectors read, "
        f"{report.added:,} added, {report.external:,} for images that no folder has"
    )
    for note in report.notes:
        click.echo(f"note: {visible(note)}")
    _tell_of_revision(report)
