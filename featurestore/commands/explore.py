"""The commands `explore` and `project`."""

import webbrowser
from dataclasses import asdict

import click

from featurestore.commands.options import (
    SEED,
    example,
    json_option,
    print_json,
    snapshot_option,
    store_option,
    wait_option,
)


@click.command(epilog=example("featurestore explore", "featurestore explore --where \"Genre1 = 'Crime'\" --read-only"))
@store_option
@snapshot_option
@click.option("--backbone", metavar="NAME", help="The backbone whose map is shown first.")
@click.option(
    "--map",
    metavar="METHOD",
    default="pca",
    show_default=True,
    help="PCA axes, or a map made by `featurestore project`: pca or tsne.",
)
@click.option("--where", metavar="SQL", help="Begin with the images that satisfy this condition.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="The port of 127.0.0.1 to serve at.  [default: a free one]"
)
@click.option("--read-only", is_flag=True, help="Save no selection, correct no label, start no bench.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
def explore(
    store: str,
    snapshot: str | None,
    backbone: str | None,
    map: str,
    where: str | None,
    port: int,
    read_only: bool,
    no_browser: bool,
) -> None:
    """Look at the images in a browser.

    One page shows maps of the embeddings, neighbours, columns and results. Ctrl-C ends it.
    """
    from featurestore import FeatureStore

    with (
        FeatureStore.open(store, snapshot=snapshot, isolated=True) as opened,
        opened.explore(backbone=backbone, map=map, where=where, port=port, read_only=read_only) as running,
    ):
        click.echo(running.url)
        click.echo("served to this machine alone, to whoever has this address; Ctrl-C ends it", err=True)
        if not no_browser:
            webbrowser.open(running.entrance())
        try:
            running.wait()
        except KeyboardInterrupt:
            click.echo("closed", err=True)


@click.command(
    epilog=example("featurestore project --backbone clip", "featurestore project --backbone clip --perplexity 50")
)
@store_option
@click.option("--backbone", metavar="NAME", required=True, help="The backbone whose embeddings are shown.")
@click.option("--method", type=click.Choice(["tsne"]), default="tsne", show_default=True, help="How the map is made.")
@click.option("--perplexity", type=float, default=30.0, show_default=True, help="About how many neighbours count.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the random generator.")
@wait_option
@json_option
def project(
    store: str, backbone: str, method: str, perplexity: float, seed: int, wait_seconds: float, as_json: bool
) -> None:
    """Compute a map of embeddings for `explore`.

    It is stored as rows of the table `projections`.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store) as opened:
        report = opened.project(backbone, method=method, perplexity=perplexity, seed=seed, wait_seconds=wait_seconds)
    if as_json:
        print_json(asdict(report))
        return
    if report.synthetic:
        click.echo("SYNTHETIC images or weights: this map says nothing about real images")
    click.echo(
        f"{report.method} of {report.rows:,} images by {report.backbone} stored; "
        f"next: featurestore explore --backbone {report.backbone} --map {report.method}"
    )
