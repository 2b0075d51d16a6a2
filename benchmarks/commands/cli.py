"""The command `benchmarks`: gathers the commands and turns errors into one line and an exit code."""

import signal
import sys

import click

from benchmarks.commands.canary import canary
from benchmarks.commands.doubtful import doubtful
from benchmarks.commands.heads import heads
from benchmarks.commands.model import fit, predict
from benchmarks.commands.next_labels import next_images
from benchmarks.commands.power import power
from benchmarks.commands.report import report, runs, table
from benchmarks.commands.run import run
from featurestore import __version__
from featurestore.commands.options import run_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Compare classifier heads over the embeddings of a feature store."""


for command in (run, runs, table, report, heads, power, canary, doubtful, next_images, fit, predict):
    cli.add_command(command)


def main() -> None:
    """Entry point: one line on stderr and an exit code instead of a traceback."""
    code = run_command(cli, "benchmarks")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: a second Ctrl-C has nothing left to stop
    sys.exit(code)


if __name__ == "__main__":
    main()
