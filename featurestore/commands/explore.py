"""The commands `explore` and `project`."""

import webbrowser

import click

from featurestore.commands.options import snapshot_option, store_option


@click.command()
@store_option
@snapshot_option
@click.option("--backbone", metavar="NAME", help="The backbone whose map is shown first.")
@click.option("--map", metavar="METHOD", default="pca", show_default=True, help="pca, or one made by `project`.")
@click.option("--where", metavar="SQL", help="Begin with the images that satisfy this condition.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1.  [default: a free one]")
@click.option("--read-only", is_flag=True, help="Save no selection and correct no label.")
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
    """Look at the images in a browser: maps of the embeddings, neighbours, columns, results; Ctrl-C ends it."""
    from featurestore import FeatureStore

    with (
        FeatureStore.open(store, snapshot=snapshot) as opened,
        opened.explore(backbone=backbone, map=map, where=where, port=port, read_only=read_only) as running,
    ):
        click.echo(running.url)
        click.echo("served to this machine alone, to whoever has this address; Ctrl-C ends it", err=True)
        if not no_browser:
            webbrowser.open(running.url)
        try:
            running.wait()
        except KeyboardInterrupt:
            click.echo("closed", err=True)
