"""What is printed after vectors were written to a store, by `embed`, `publish` and `import-embeddings`."""

from typing import TYPE_CHECKING

import click

from featurestore.commands.options import say_next

if TYPE_CHECKING:
    from featurestore import FeatureStore
    from featurestore.embedding.embed import EmbedReport
    from featurestore.embedding.importer import ImportReport
    from featurestore.embedding.publish_shards import PublishReport


def tell_of_revision(report: "EmbedReport | ImportReport | PublishReport") -> None:
    """Print a line when the views of a backbone show another revision than before."""
    if report.replaced:
        click.echo(
            f"the views of {report.backbone} now show revision {report.revision} instead of {report.replaced}, "
            "which is kept in `embeddings` and in snapshots"
        )
    for sentence in report.failing_views.values():
        click.echo(sentence)


def say_what_follows(store: "FeatureStore", backbone: str) -> None:
    """With labels a comparison of heads, otherwise a search."""
    from featurestore import quote_name

    images = store.query(f"SELECT ImgId FROM {quote_name(f'embeddings_{backbone}')} ORDER BY ImgId LIMIT 1")
    if len(store.query("SELECT ImgId FROM labeled LIMIT 1")):
        say_next(f"benchmarks run --quick --backbone {backbone}", store=store.location)
    elif len(images):
        say_next(f"featurestore similar --backbone {backbone} --id {images['ImgId'][0]}", store=store.location)
