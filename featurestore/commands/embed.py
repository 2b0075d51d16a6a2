"""The commands that compute vectors, or publish computed ones: `embed` and `publish`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurestore.commands.backbone_options import (
    TensorName,
    backbone_file_option,
    chosen_backbone,
    preprocessing_option,
    verbose_option,
)
from featurestore.commands.options import PATH, example, json_option, print_json, say_next, store_option, wait_option
from featurestore.commands.vectors import say_what_follows, tell_of_revision
from featurestore.progress import ConsoleProgress
from featurestore.terminal import visible

if TYPE_CHECKING:
    from featurestore import FeatureStore
    from featurestore.embedding.embed import EmbedReport
    from featurestore.embedding.publish_shards import PublishReport


@click.command(
    epilog=example(
        "featurestore embed --backbone descriptors",
        "featurestore embed --backbone hf:openai/clip-vit-base-patch32 --name clip",
        "featurestore embed --backbone onnx:net.onnx --preprocessing scale=signed",
        "featurestore embed --backbone descriptors --shard 1/16 --out shards",
    )
)
@store_option
@click.option(
    "--backbone",
    help="What computes the embeddings: descriptors, hf:DIR_OR_NAME, onnx:FILE …; `featurestore backbones` lists all.",
)
@backbone_file_option
@verbose_option
@click.option(
    "--weights", type=PATH, help="A folder with the weights, for a backbone that would otherwise download them."
)
@click.option(
    "--tensor",
    type=TensorName(),
    help="For tflite and onnx: the name or number of the tensor to read as the embedding.  [default: the output]",
)
@click.option(
    "--pooling",
    help="For hf and torch: how the output becomes one vector: cls, mean, cls+mean, pooler or features.  "
    "[default: as usual for the model family]",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16", "int8"]),
    help="Compute with numbers of this type. Vectors of different types are kept apart, as different revisions.  "
    "[default: fp32]",
)
@preprocessing_option
@click.option("--name", help="Store the embeddings under this name.  [default: the backbone's own name]")
@click.option("--synthetic", is_flag=True, help="The weights are random or made up: mark all results as SYNTHETIC.")
@click.option("--batch-size", type=int, default=32, show_default=True, help="How many images are computed at once.")
@click.option(
    "--other-engine",
    is_flag=True,
    help="Continue although other libraries or another device computed the earlier vectors: they round differently.",
)
@click.option("--workers", type=int, help="How many threads decode images.  [default: one for each core]")
@click.option(
    "--shard",
    metavar="K/N",
    help="Compute only the K-th of N shares of the images, into --out; `featurestore publish` adds them to the store.",
)
@click.option("--out", type=PATH, metavar="DIR", help="The folder that a shard is written to.")
@click.option(
    "--on",
    metavar="CLUSTER",
    help="Compute on a Ray cluster: ray://HOST:PORT, HOST:PORT, or auto on a machine of the cluster.",
)
@click.option(
    "--cluster-workers", type=int, metavar="N", help="How many workers of the cluster.  [default: all that fit]"
)
@click.option(
    "--worker-cpus", type=float, metavar="N", help="How many CPUs each worker of the cluster gets.  [default: 1]"
)
@click.option(
    "--worker-gpus", type=float, metavar="N", help="How many GPUs each worker of the cluster gets.  [default: 0]"
)
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
    """Compute a backbone's embedding of each image.

    An image that has one already is skipped. After an interruption the same command goes on where it stopped.
    """
    from featurestore import FeatureStore

    chosen = _named(backbone, backbone_file)
    opened = FeatureStore(store)
    with ConsoleProgress(f"embed {name or chosen}", "images") as progress:
        report = opened.embed(
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
        print_json(asdict(report) | {"images_per_second": report.images_per_second})
    else:
        _tell(report, opened, out)
    if report.refused:
        raise click.exceptions.Exit(1)


def _named(backbone: str | None, backbone_file: Path | None) -> str:
    chosen = chosen_backbone(backbone, backbone_file)
    if chosen is None:
        raise click.UsageError("name a backbone with --backbone or --backbone-file, as in --backbone descriptors")
    return chosen


def _tell(report: "EmbedReport", store: "FeatureStore", out: Path | None) -> None:
    click.echo(_summary(report))
    for worker, rate in report.workers.items():
        click.echo(f"worker {worker}: {rate:,.1f} images/s")
    for note in report.notes:
        click.echo(f"note: {visible(note)}")
    tell_of_revision(report)
    for image, reason in report.refused.items():
        click.echo(f"refused {image}: {reason}")
    if out is not None:
        say_next(f"featurestore publish {shlex.quote(str(out))}", store=store.location)
    else:
        say_what_follows(store, report.backbone)


def _summary(report: "EmbedReport") -> str:
    shard = f"shard {report.shard}, " if report.shard else ""
    return (
        f"{_heading(report)}: {shard}{report.computed:,} computed ({report.images_per_second:,.1f} images/s), "
        f"{report.reused:,} reused, {report.present:,} already there"
    )


def _heading(report: "EmbedReport | PublishReport") -> str:
    mark = ", SYNTHETIC WEIGHTS" if report.synthetic else ""
    return f"{report.backbone} (revision {report.revision}, {report.embed_dim}-d{mark})"


@click.command(epilog=example("featurestore publish shards", "featurestore publish /scratch/shards-*"))
@store_option
@click.argument("folders", type=PATH, nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--other-engine",
    is_flag=True,
    help="Publish although different libraries or devices computed the shards: they round differently.",
)
@wait_option
@json_option
def publish(store: str, folders: Sequence[Path], other_engine: bool, wait_seconds: float, as_json: bool) -> None:
    """Add the embeddings that `embed --shard` computed.

    Each DIR is a folder that was given to `featurestore embed` as --out. Everything is checked first; what was
    published before is skipped, and what is missing is named.
    """
    from featurestore import FeatureStore

    opened = FeatureStore(store)
    with ConsoleProgress("publish", "embeddings") as progress:
        reports = opened.publish(folders, other_engine=other_engine, wait_seconds=wait_seconds, on_progress=progress)
    if as_json:
        print_json([asdict(report) for report in reports])
    else:
        for report in reports:
            receipts = f"{report.receipts:,} receipt{'s' * (report.receipts != 1)}"
            click.echo(f"{_heading(report)}: {report.added:,} added, {report.skipped:,} skipped, {receipts}")
            if report.missing:
                shards = f", in the shards {', '.join(report.missing_shards)}" if report.missing_shards else ""
                click.echo(f"missing: {report.missing:,} images{shards}")
            tell_of_revision(report)
            for image, reason in report.refused.items():
                click.echo(f"refused {image}: {reason}")
        for report in reports:
            if not report.missing:
                say_what_follows(opened, report.backbone)
    if any(report.refused for report in reports):
        raise click.exceptions.Exit(1)
