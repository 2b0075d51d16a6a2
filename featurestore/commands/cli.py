"""The command `featurestore`: gathers the commands under headings."""

import sys

import click

from featurestore import __version__
from featurestore.commands.backbone import backbone, backbones
from featurestore.commands.embed import embed, publish
from featurestore.commands.explore import explore, project
from featurestore.commands.export import export
from featurestore.commands.forget import forget
from featurestore.commands.import_embeddings import import_embeddings
from featurestore.commands.info import info
from featurestore.commands.ingest import fetch, ingest, sample
from featurestore.commands.label import label
from featurestore.commands.options import SETTINGS, GroupWithHeadings, example, run_command
from featurestore.commands.parts import parts
from featurestore.commands.quality import quality
from featurestore.commands.search import similar
from featurestore.commands.sql import schema, sql
from featurestore.commands.state import lineage, snapshot, view
from featurestore.commands.upkeep import compact, gc, repair, verify

FIRST_STEPS = ("featurestore ingest --images photos", "featurestore embed --backbone descriptors", "featurestore info")


@click.group(
    cls=GroupWithHeadings,
    context_settings=SETTINGS,
    epilog=example(*FIRST_STEPS, title="Start with your own folder of images:"),
)
@click.version_option(__version__)
def cli() -> None:
    """Store images' metadata and embeddings, and query them in SQL.

    A store is one folder. Every command says what usually comes next, and `featurestore COMMAND --help` shows examples.
    """


cli.add("Start", sample, fetch, ingest, backbones, embed, publish, import_embeddings)
cli.add("Ask", info, explore, project, schema, sql, similar, quality, lineage, view)
cli.add("Share", export, parts, snapshot)
cli.add("Upkeep", label, forget, backbone, verify, repair, compact, gc)


def main() -> None:
    """Entry point: an error becomes one line on stderr and an exit code, not a traceback."""
    sys.exit(run_command(cli, "featurestore"))


if __name__ == "__main__":
    main()
