"""The commands that write vectors to the store: `embed`, `publish` and `import-embeddings`."""

import json
import shlex
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
    from featurestore.embedding.publish_shards import PublishReport


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
@click.option("--shard", metavar="K/N", help="Only the K-th of N shards, into --out, for `publish`.")
@click.option("--out", type=PATH, metavar="DIR", help="The folder for a shard; the store is only read.")
@click.option("--on", metavar="CLUSTER", help="Workers of a Ray cluster compute: ray://HOST:PORT, HOST:PORT or auto.")
@click.option("--cluster-workers", type=int, metavar="N", help="Their number.  [default: all that fit]")
@click.option("--worker-cpus", type=float, metavar="N", help="CPUs of each worker of a cluster.  [default: 1]")
@click.option("--worker-gpus", type=float, metavar="N", help="GPUs of each worker of a cluster.  [default: 0]")
@wait_option
@json_option
def embed(
    store: str,
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
    shard: str | None,
    out: Path | None,
    on: str | None,
    cluster_workers: int | None,
    worker_cpus: float | None,
    worker_gpus: float | None,
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
            shard=shard,
            out=out,
            on=on,
            cluster_workers=cluster_workers,
            worker_cpus=worker_cpus,
            worker_gpus=worker_gpus,
            wait_seconds=wait_seconds,
            on_progress=progress,
        )
    if as_json:
        click.echo(json.dumps(asdict(report) | {"images_per_second": report.images_per_second}))
    else:
        _tell(report)
        if out is not None:
            click.echo(f"next: featurestore publish --store {shlex.quote(store)} {shlex.quote(str(out))}")
    if report.refused:
        raise click.exceptions.Exit(1)


def _tell(report: "EmbedReport") -> None:
    click.echo(_summary(report))
    for worker, rate in report.workers.items():
        click.echo(f"worker {worker}: {rate:,.1f} images/s")
    for note in report.notes:
        click.echo(f"note: {visible(note)}")
    _tell_of_revision(report)
    for image, reason in report.refused.items():
        click.echo(f"refused {image}: {reason}")


def _summary(report: "EmbedReport") -> str:
    shard = f"shard {report.shard}, " if report.shard else ""
    return (
        f"{_heading(report)}: {shard}{report.computed:,} computed ({report.images_per_second:,.1f} images/s), "
        f"{report.reused:,} reused, {report.present:,} already there"
    )


def _heading(report: "EmbedReport | PublishReport") -> str:
    mark = ", SYNTHETIC WEIGHTS" if report.synthetic else ""
    return f"{report.backbone} (revision {report.revision}, {report.embed_dim}-d{mark})"


@click.command()
@store_option
@click.argument("folders", type=PATH, nargs=-1, required=True, metavar="DIR...")
@click.option("--other-engine", is_flag=True, help="Publish vectors of several engines.")
@wait_option
@json_option
def publish(store: str, folders: Sequence[Path], other_engine: bool, wait_seconds: float, as_json: bool) -> None:
    """Check the shards in the folders of `embed --shard`, and add their embeddings to the store."""
    from featurestore import FeatureStore

    with ConsoleProgress("publish", "embeddings") as progress:
        reports = FeatureStore(store).publish(
            folders, other_engine=other_engine, wait_seconds=wait_seconds, on_progress=progress
        )
    if as_json:
        click.echo(json.dumps([asdict(report) for report in reports]))
    else:
        for report in reports:
            receipts = f"{report.receipts:,} receipt{'s' * (report.receipts != 1)}"
            click.echo(f"{_heading(report)}: {report.added:,} added, {report.skipped:,} skipped, {receipts}")
            if report.missing:
                shards = f", in the shards {', '.join(report.missing_shards)}" if report.missing_shards else ""
                click.echo(f"missing: {report.missing:,} images{shards}")
            _tell_of_revision(report)
            for image, reason in report.refused.items():
                click.echo(f"refused {image}: {reason}")
    if any(report.refused for report in reports):
        raise click.exceptions.Exit(1)


def _tell_of_revision(report: "EmbedReport | ImportReport | PublishReport") -> None:
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
