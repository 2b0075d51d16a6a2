"""The command `info`."""

import click

from featurestore.commands.options import example, json_option, snapshot_option, store_option
from featurestore.commands.texts import json_text, summary_text


@click.command(epilog=example("featurestore info", "featurestore info --problems"))
@store_option
@snapshot_option
@click.option("--problems", is_flag=True, help="List the images and rows that did not fit, with the reasons.")
@json_option
def info(store: str, snapshot: str | None, problems: bool, as_json: bool) -> None:
    """Show what the store holds, and what was left out.

    It counts images, labels and the embeddings of each backbone, and names the refused files with the reasons.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        summary = opened.info(problems=problems)
    click.echo(json_text(summary) if as_json else summary_text(summary))
