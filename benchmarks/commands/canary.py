"""The command `canary`."""

import click

from benchmarks.commands.options import Data, GroupOptions, Learning, data_options, group_options, head_options
from featurestore.commands.options import example, json_option, print_json, store_option
from featurestore.progress import ConsoleProgress


@click.command(epilog=example("benchmarks canary --head knn", "benchmarks canary --head-file own_heads.py"))
@store_option
@data_options
@head_options
@group_options
@click.option("--folds", type=int, default=5, show_default=True, help="Cut the images into this many folds.")
@json_option
def canary(
    store: str,
    data: Data,
    learning: Learning,
    kept: GroupOptions,
    folds: int,
    as_json: bool,
) -> None:
    """Test that no head sees the test labels.

    All heads are trained on shuffled labels. A head that then scores better than chance has seen labels of the test
    part, and the exit code is 1.
    """
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks canary")
    from benchmarks.plan.protocols import Protocol
    from benchmarks.results.canary import canary_lines, canary_results
    from benchmarks.run.runner import run
    from featurestore import open as open_store

    opened = open_store(store)
    with ConsoleProgress("canary", "cells") as progress:
        (report,) = run(
            opened,
            heads=learning.specs(),
            protocols=[Protocol("cv", folds=folds, seed=learning.seed)],
            backbones=data.backbones,
            view=data.view,
            label=data.label,
            seed=learning.seed,
            canary=True,
            grouping=kept.grouping(),
            limits=learning.limits(),
            on_progress=progress,
        )
    rows = canary_results(opened, report.run_id)
    if as_json:
        names = ("backbone", "head", "chance", "p_holm")
        print_json([{row.metric: row.score} | {name: getattr(row, name) for name in names} for row in rows])
    else:
        for line in canary_lines(rows):
            click.echo(line)
    if any(row.leaks or row.score is None for row in rows):
        raise click.exceptions.Exit(1)
