"""The command `benchmarks`: gathers the commands and turns errors into one line and an exit code."""

import signal
import sys

import click

from benchmarks.commands.canary import canary
from benchmarks.commands.doubtful import doubtful
from benchmarks.commands.heads import heads
from benchmarks.commands.interrupts import Interrupts
from benchmarks.commands.model import fit, predict
from benchmarks.commands.next_labels import next_images
from benchmarks.commands.power import power
from benchmarks.commands.report import report, runs, table
from benchmarks.commands.run import run
from featurestore import __version__
from featurestore.commands.options import SETTINGS, GroupWithHeadings, example, run_command

FIRST_STEPS = (
    "benchmarks run --quick",
    "benchmarks report -o report.html",
    "benchmarks fit knn --backbone descriptors -o knn.model",
)

# The exit code of a command that was stopped: 128 and the number of the signal.
SIGNALLED = 128
STOPPED = SIGNALLED + signal.SIGINT


@click.group(
    cls=GroupWithHeadings,
    context_settings=SETTINGS,
    epilog=example(*FIRST_STEPS, title="Start with a store that has embeddings and labels:"),
)
@click.version_option(__version__)
def cli() -> None:
    """Compare classifiers (heads) over the embeddings of a store.

    Every head is trained on the same folds of the same images, and the table says which differences are significant.
    `benchmarks COMMAND --help` shows examples.
    """


cli.add("Before a run", heads, power, canary)
cli.add("Compare", run, table, report, runs)
cli.add("Improve the labels", doubtful, next_images)
cli.add("Use a head", fit, predict)


def main() -> None:
    """Entry point: one line on stderr and an exit code instead of a traceback."""
    interrupts = Interrupts()
    interrupts.install()
    code = run_command(cli, "benchmarks")
    if code == STOPPED:
        code = SIGNALLED + interrupts.number
    interrupts.ignore()
    sys.exit(code)


if __name__ == "__main__":
    main()
