"""Commands for backbones: those that `embed` can use, and those in a store."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from featurestore.commands.backbone_options import preprocessing_option
from featurestore.commands.options import (
    PATH,
    example,
    json_option,
    print_json,
    say_next,
    snapshot_option,
    store_option,
    wait_option,
)


@click.command(epilog=example("featurestore backbones"))
@json_option
def backbones(as_json: bool) -> None:
    """List the backbones that `embed` can use.

    A line names what `--backbone` takes, the length of a vector where it is known, and what it is.
    """
    from featurestore.backbones.records import known

    records = known()
    if as_json:
        print_json([{"name": r.name, "embed_dim": r.embed_dim, "about": r.description} for r in records])
        return
    for record in records:
        click.echo(f"{record.name:<18}{record.embed_dim or '':>6}  {record.description}")


@click.group(epilog=example("featurestore backbone list"))
def backbone() -> None:
    """List, rename, remove or convert backbones."""


@backbone.command("list", epilog=example("featurestore backbone list"))
@store_option
@snapshot_option
@json_option
def backbone_list(store: str, snapshot: str | None, as_json: bool) -> None:
    """List the backbones in the store.

    A line names the backbone, the length of its vectors, how many images have one, the revision, and where the weights
    came from.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        found = opened.backbones()
    if as_json:
        print_json([asdict(info) for info in found])
        return
    for info in found:
        mark = "  SYNTHETIC WEIGHTS" if info.synthetic else ""
        click.echo(
            f"{info.name:<18}{info.embed_dim:>6}  {info.rows:,} of {info.images:,} images, revision {info.revision}, "
            f"{info.source or 'no source'}{mark}"
        )
    if not found:
        click.echo("no backbone yet: featurestore embed --backbone descriptors")


@backbone.command("remove", epilog=example("featurestore backbone remove theirs"))
@store_option
@click.argument("name")
@wait_option
@json_option
def backbone_remove(store: str, name: str, wait_seconds: float, as_json: bool) -> None:
    """Remove the backbone NAME with its vectors.

    Snapshots keep the vectors that they had; the others stay on the disk until `featurestore gc` deletes them.
    """
    from featurestore import FeatureStore

    rows = FeatureStore(store).remove_backbone(name, wait_seconds=wait_seconds)
    if as_json:
        print_json({"removed": name, "rows": rows})
        return
    click.echo(f"backbone {name} removed, {rows:,} vectors")
    say_next("featurestore gc --dry-run", store=store)


@backbone.command("rename", epilog=example("featurestore backbone rename theirs clip"))
@store_option
@click.argument("name")
@click.argument("new_name")
@wait_option
def backbone_rename(store: str, name: str, new_name: str, wait_seconds: float) -> None:
    """Rename the backbone NAME to NEW_NAME.

    No vector is written or computed again.
    """
    from featurestore import FeatureStore

    FeatureStore(store).rename_backbone(name, new_name, wait_seconds=wait_seconds)
    click.echo(f"backbone {name} renamed to {new_name}")


@backbone.command(
    "convert",
    epilog=example(
        "featurestore backbone convert savedmodel:model -o converted",
        "featurestore backbone convert inception_v3 --weights inception -o converted",
        "featurestore backbone convert model.keras --precision int8 -o small",
    ),
)
@click.argument("source")
@click.option("-o", "--output", type=PATH, required=True, help="The folder to write.")
@click.option("--name", help="The name of the backbone in a store.  [default: that of SOURCE]")
@click.option(
    "--weights", type=PATH, help="A folder with the weights, for a backbone that would otherwise download them."
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int8"]),
    default="fp32",
    show_default=True,
    help="With fp32 the vectors count as those of SOURCE, so that a store goes on with them. With int8 the result is "
    "smaller and faster, and its vectors are kept apart, as another revision.",
)
@click.option(
    "--images", type=PATH, help="Compare SOURCE and the result on images of this folder.  [default: generated images]"
)
@preprocessing_option
@click.option("--synthetic", is_flag=True, help="The weights are random or made up: mark all results as SYNTHETIC.")
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
    """Convert a backbone to run without TensorFlow.

    SOURCE is savedmodel:DIR, FILE.keras, inception_v3 or resnet_v2_50. The result is compared with it before it is
    written, and starts faster and takes less memory.
    """
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
        print_json(asdict(done))
        return
    click.echo(
        f"{done.backbone} (revision {done.revision}, {done.embed_dim}-d, {done.precision}): {done.size_bytes:,} bytes, "
        f"on {done.images} {done.checked_on} images the largest difference is {done.largest_difference:.1e} of the "
        f"largest value, the mean cosine {done.mean_cosine:.5f}"
    )
    say_next(f"featurestore embed --backbone {shlex.quote(f'converted:{done.folder}')}")
