"""Commands for backbones: those that `embed` can use, and those in a store."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from featurestore.commands.options import (
    PATH,
    json_option,
    preprocessing_option,
    snapshot_option,
    store_option,
    wait_option,
)


@click.command()
@json_option
def backbones(as_json: bool) -> None:
    """List the backbones that `embed` can use."""
    from featurestore.backbones.records import known

    records = known()
    if as_json:
        click.echo(json.dumps([{"name": r.name, "embed_dim": r.embed_dim, "about": r.description} for r in records]))
        return
    for record in records:
        click.echo(f"{record.name:<18}{record.embed_dim or '':>6}  {record.description}")


@click.group()
def backbone() -> None:
    """Convert a backbone; list, remove or rename those of the store."""


@backbone.command("list")
@store_option
@snapshot_option
@json_option
def backbone_list(store: str, snapshot: str | None, as_json: bool) -> None:
    """List the backbones in the store by name: dimension, images, revision, and the source of the weights."""
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        found = opened.backbones()
    if as_json:
        click.echo(json.dumps([asdict(info) for info in found]))
        return
    for info in found:
        mark = "  SYNTHETIC WEIGHTS" if info.synthetic else ""
        click.echo(
            f"{info.name:<18}{info.embed_dim:>6}  {info.rows:,} of {info.images:,} images, revision {info.revision}, "
            f"{info.source or 'no source'}{mark}"
        )
    if not found:
        click.echo("no backbone yet: featurestore embed --backbone descriptors")


@backbone.command("remove")
@store_option
@click.argument("name")
@wait_option
@json_option
def backbone_remove(store: str, name: str, wait_seconds: float, as_json: bool) -> None:
    """Remove the backbone NAME with all its vectors; snapshots keep theirs, `gc` deletes the rest."""
    from featurestore import FeatureStore

    rows = FeatureStore(store).remove_backbone(name, wait_seconds=wait_seconds)
    click.echo(json.dumps({"removed": name, "rows": rows}) if as_json else f"backbone {name} removed, {rows:,} vectors")


@backbone.command("rename")
@store_option
@click.argument("name")
@click.argument("new_name")
@wait_option
def backbone_rename(store: str, name: str, new_name: str, wait_seconds: float) -> None:
    """Rename the backbone NAME to NEW_NAME; no vector is written or computed again."""
    from featurestore import FeatureStore

    FeatureStore(store).rename_backbone(name, new_name, wait_seconds=wait_seconds)
    click.echo(f"backbone {name} renamed to {new_name}")


@backbone.command("convert")
@click.argument("source")
@click.option("-o", "--output", type=PATH, required=True, help="The folder to write.")
@click.option("--name", help="Name in the store.  [default: the source's]")
@click.option("--weights", type=PATH, help="A local SavedModel folder instead of the hub's weights.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    show_default=True,
    help="fp32 keeps the source's revision; int8 is smaller, faster, and a revision of its own.",
)
@click.option("--images", type=PATH, help="A folder of images to compare on.  [default: generated images]")
@preprocessing_option
@click.option("--synthetic", is_flag=True, help="The weights are random or made up: mark all results as synthetic.")
@json_option
def backbone_convert(
    source: str,
    output: Path,
    name: str | None,
    weights: Path | None,
    precision: Literal["fp32", "int8"],
    images: Path | None,
    preprocessing: Mapping[str, str],
    synthetic: bool,
    as_json: bool,
) -> None:
    """Convert SOURCE once, so that it later needs no TensorFlow: savedmodel:DIR, inception_v3, FILE.keras …."""
    from featurestore import convert_backbone

    done = convert_backbone(
        source,
        output,
        name=name,
        weights=weights,
        precision=precision,
        images=images,
        preprocessing=preprocessing or None,
        synthetic=synthetic,
    )
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    click.echo(
        f"{done.backbone} (revision {done.revision}, {done.embed_dim}-d, {done.precision}): {done.size_bytes:,} bytes, "
        f"on {done.images} {done.checked_on} images the largest difference is {done.largest_difference:.1e} of the "
        f"largest value, the mean cosine {done.mean_cosine:.5f}"
    )
    click.echo(f"next: featurestore embed --backbone {shlex.quote(f'converted:{done.folder}')}")
