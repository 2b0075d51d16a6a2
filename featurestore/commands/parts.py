"""The command `parts`."""

import click

from featurestore.commands.options import example, json_option, print_json, snapshot_option, store_option


@click.command(epilog=example("featurestore parts images", "featurestore parts descriptors --json"))
@store_option
@snapshot_option
@click.argument("name")
@json_option
def parts(store: str, snapshot: str | None, name: str, as_json: bool) -> None:
    """Print the Parquet files of a table or backbone.

    NAME is that of a table, or of a backbone for its vectors. Polars, DuckDB and other programs can read the files.
    Those of a backbone also hold vectors of images that were replaced or removed since: keep the rows whose
    content_hash is empty or equal to that of the image in the table images.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        found = opened.parts(name)
    if as_json:
        print_json(found)
        return
    click.echo("\n".join(found), nl=bool(found))
