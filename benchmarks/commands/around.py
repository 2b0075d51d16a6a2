"""The commands around a run: `canary`, `power` and `heads`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.commands.options import Data, Learning, data_options, head_options
from featurestore.commands.options import PATH, json_option, store_option
from featurestore.progress import ConsoleProgress


@click.command()
@store_option
@data_options
@head_options
@click.option("--folds", type=int, default=5, show_default=True, help="Of the cross-validation.")
@json_option
def canary(
    store: Path,
    data: Data,
    learning: Learning,
    folds: int,
    as_json: bool,
) -> None:
    """Run all heads on shuffled labels: one that still scores above chance has seen what it must not see."""
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks canary")
    from benchmarks.plan.protocols import Protocol
    from benchmarks.results.canary import heard, watch
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
            limits=learning.limits(),
            on_progress=progress,
        )
    rows = watch(opened, report.run_id)
    if as_json:
        names = ("backbone", "head", "chance", "p_holm")
        click.echo(json.dumps([{row.metric: row.score} | {name: getattr(row, name) for name in names} for row in rows]))
    else:
        for line in heard(rows):
            click.echo(line)
    if any(row.leaks or row.score is None for row in rows):
        raise click.exceptions.Exit(1)


@click.command()
@store_option
@click.option("--view", default="labeled", show_default=True, help="A view with ImgId.")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Of the cross-validation.")
@click.option("--repeats", type=click.IntRange(1), default=10, show_default=True, help="Of the folds.")
@click.option(
    "--rows", "n_rows", type=click.IntRange(10), help="How many rows there would be.  [default: those of the view]"
)
@click.option(
    "--discordance",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.25,
    show_default=True,
    help="The share of rows that just one of two heads has right.",
)
@click.option(
    "--comparisons",
    type=click.IntRange(1),
    help="Rows tested against the reference.  [default: as many as a run of all heads over each backbone has]",
)
@json_option
def power(
    store: Path,
    view: str,
    folds: int,
    repeats: int,
    n_rows: int | None,
    discordance: float,
    comparisons: int | None,
    as_json: bool,
) -> None:
    """Print the smallest difference of accuracy that a run can detect, before it is run."""
    from featurestore._optional import import_extra

    import_extra("scipy", "bench", needed_by="benchmarks power")
    from benchmarks.heads.registry import find
    from benchmarks.scores.difference import detectable
    from featurestore import open as open_store
    from featurestore.storage.names import quote_name  # not above: it would make every --help load pyarrow

    opened = open_store(store)
    rows = n_rows or len(opened.sql(f"SELECT ImgId FROM {quote_name(view)}"))
    # The most frequent class is in no correction.
    learned = [head for head in find([], protocol="cv") if head.name != "majority"]
    comparisons = comparisons or len(learned) * max(1, len(opened.backbones())) - 1
    found = {
        "study": detectable(n_rows=rows, folds=5, repeats=0, discordance=discordance, comparisons=comparisons),
        f"cv {folds} × 1": detectable(
            n_rows=rows, folds=folds, repeats=1, discordance=discordance, comparisons=comparisons
        ),
        f"cv {folds} × {repeats}": detectable(
            n_rows=rows, folds=folds, repeats=repeats, discordance=discordance, comparisons=comparisons
        ),
    }
    if as_json:
        click.echo(
            json.dumps({"rows": rows, "discordance": discordance, "comparisons": comparisons, "detectable": found})
        )
        return
    click.echo(
        f"{rows:,} rows, heads that disagree on {discordance:.0%} of them, {comparisons} comparisons (Holm), "
        "two-sided 5 %, power 80 %"
    )
    for name, difference in found.items():
        told = (
            "any difference of accuracy" if difference is None else f"a difference of accuracy below {difference:.3f}"
        )
        click.echo(f"{name:<12}{told} will likely stay unseen")


@click.command()
@click.option("--head-file", "files", multiple=True, type=PATH, help="Python file with heads of your own; repeatable.")
@click.option("--check", is_flag=True, help="Run the contract that every head must keep.")
@click.option("--head", "names", multiple=True, help="Only this one; repeatable.")
@json_option
def heads(files: Sequence[Path], check: bool, names: Sequence[str], as_json: bool) -> None:
    """List the heads, or check them."""
    from benchmarks.heads.registry import find

    specs = find(names, files=files)
    rows: list[dict[str, Any]] = [
        {"name": spec.name, "about": spec.about, "protocols": list(spec.sets)} for spec in specs
    ]
    if check:
        from benchmarks.heads.contract import violations
        from benchmarks.run.pool import computed

        found = computed(violations, specs, workers=1, failed=lambda sentence: {"process": sentence})
        for number, broken in found:
            rows[number]["violations"] = broken
    if as_json:
        click.echo(json.dumps(rows))
    else:
        for row in rows:
            click.echo(f"{row['name']:<24}{row['about']}")
            for name, sentence in row.get("violations", {}).items():
                click.echo(f"{'':<24}{name}: {sentence}")
            if check and not row["violations"]:
                click.echo(f"{'':<24}keeps the contract")
    if any(row.get("violations") for row in rows):
        raise click.exceptions.Exit(1)
