"""The command `parts`."""

import json

import click

from featurestore.commands.options import json_option, snapshot_option, store_option


@click.command()
@store_option
@snapshot_option
@click.argument("name")
@json_option
def parts(store: str, snapshot: str | None, name: str, as_json: bool) -> None:
    """Print the Parquet files of the table or backbone NAME, for Polars, DuckDB and other readers.

    The files of a backbone also hold vectors of images that were since replaced or removed: see README, "Reuse".
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        found = opened.parts(name)
    click.echo(json.dumps(found) if as_json else "\n".join(found), nl=as_json or bool(found))
