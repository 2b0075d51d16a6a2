"""The commands `run`, `canary`, `power` and `heads`."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from featurestore.commands.options import FOLDER, SEED, json_option, store_option
from featurestore.errors import InputError
from featurestore.progress import ConsoleProgress

REPORT, PAGE = "report.md", "report.html"
NAMES = ("cv", "study", "nested", "learning-curve")
# The repeats count on from it, and NumPy takes seeds below 2³².


def data_options(function: Callable[..., None]) -> Callable[..., None]:
    """What is learned from: backbones, view, label."""
    for option in (
        click.option(
            "--label", default="Genre1", show_default=True, help="The view's label column; lists: multi-label."
        ),
        click.option("--view", default="labeled", show_default=True, help="A view with ImgId and a label."),
        click.option(
            "--backbone", "backbones", multiple=True, help="Repeatable; A+B: both side by side.  [default: each one]"
        ),
    ):
        function = option(function)
    return function


def head_options(function: Callable[..., None]) -> Callable[..., None]:
    """What learns, and within which limits."""
    for option in (
        click.option("--memory-limit", type=click.IntRange(64), metavar="MB", help="For one worker.  [default: none]"),
        click.option(
            "--time-limit",
            type=click.FloatRange(1),
            default=600.0,
            show_default=True,
            metavar="SECONDS",
            help="For one cell.",
        ),
        click.option("--workers", type=click.IntRange(1), help="Processes.  [default: the number of cores]"),
        click.option(
            "--seed", type=SEED, default=0, show_default=True, help="Of the folds and of heads that are random."
        ),
        click.option(
            "--head-file", "files", multiple=True, type=FOLDER, help="Python file with heads of your own; repeatable."
        ),
        click.option(
            "--head", "heads", multiple=True, help="Repeatable; see `heads`.  [default: those of the protocol]"
        ),
    ):
        function = option(function)
    return function


@click.command()
@store_option
@data_options
@head_options
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    type=click.Choice(NAMES),
    default=["cv"],
    show_default=True,
    help="Repeatable.",
)
@click.option("--folds", type=int, default=5, show_default=True, help="Of all protocols but study.")
@click.option("--repeats", type=int, help="Of the folds.  [default: 10, learning-curve 2]")
@click.option(
    "--seeds", type=click.IntRange(1), default=1, show_default=True, help="For heads that are random, on each split."
)
@click.option(
    "--reference", metavar="[BACKBONE/]HEAD", help="What the others are tested against.  [default: logistic_regression]"
)
@click.option(
    "--finetune",
    multiple=True,
    metavar="RECIPE",
    help="Also fine-tune ResNet50: resnet50_head or resnet50_layer4; repeatable.",
)
@click.option("--weights", help="Of --finetune: a name, a local folder, or none.  [default: microsoft/resnet-50]")
@click.option("--quick", is_flag=True, help="A first look: one repeat, no measurement of costs.")
@json_option
def run(
    store: Path,
    backbones: Sequence[str],
    view: str,
    label: str,
    heads: Sequence[str],
    files: Sequence[Path],
    seed: int,
    workers: int | None,
    time_limit: float,
    memory_limit: int | None,
    protocols: Sequence[str],
    folds: int,
    repeats: int | None,
    seeds: int,
    reference: str | None,
    finetune: Sequence[str],
    weights: str | None,
    quick: bool,
    as_json: bool,
) -> None:
    """Fit every head on every split and print the comparison table; finished cells are never computed again."""
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks run")
    from benchmarks.finetune.weights import DEFAULT
    from benchmarks.protocols import DEFAULT_REPEATS, Protocol
    from benchmarks.runner import Limits
    from benchmarks.runner import run as start
    from featurestore import open as open_store

    opened = open_store(store)
    plans = [
        Protocol(name, folds=folds, repeats=1 if quick else repeats or DEFAULT_REPEATS[name], seed=seed)
        for name in dict.fromkeys(protocols)
    ]
    if repeats is not None and repeats < 1:
        raise InputError(f"got {repeats} repeats, expected 1 or more")
    with ConsoleProgress("bench", "cells") as progress:
        reports = start(
            opened,
            heads=_chosen(heads, files),
            protocols=plans,
            backbones=backbones,
            view=view,
            label=label,
            seed=seed,
            seeds=seeds,
            reference=reference,
            finetune=finetune,
            weights=weights or DEFAULT,
            cost=not quick,
            limits=Limits(workers, time_limit, memory_limit),
            on_progress=progress,
        )
    _show(opened, reports, [plan.name for plan in plans], quick=quick, as_json=as_json)


def _chosen(heads: Sequence[str], files: Sequence[Path]) -> list[Any]:
    """The named heads; with a file and no names its heads beside the defaults of cv; nothing: each protocol's own."""
    from benchmarks.heads.registry import find

    return find(heads, files=files, protocol=None if heads else "cv") if heads or files else []


def _show(store: Any, reports: Sequence[Any], protocols: Sequence[str], *, quick: bool, as_json: bool) -> None:
    from benchmarks.html_report import write_html
    from benchmarks.report import render, tables, write_report

    # What this call ran, not what else the store holds: other views and labels are in the report.
    mine = {report.run_id for report in reports}
    result = [table for table in tables(store, protocols=protocols) if table["run_id"] in mine]
    # Printed first: the table must not depend on room for the files.
    if as_json:
        click.echo(json.dumps({"runs": [asdict(report) for report in reports], "tables": result}, default=str))
    else:
        click.echo(render(result, "terminal", width=terminal_width()))
    written(write_report, store, store.path / REPORT)
    written(write_html, store, store.path / PAGE)
    if as_json:
        return
    click.echo()
    for report in reports:
        failed = f", {report.failed} failed" if report.failed else ""
        click.echo(
            f"{report.run_id}: {report.computed} of {report.cells} cells computed in {report.seconds:.1f} s{failed}"
        )
    if quick:
        click.echo("a first look; the full protocol, with costs measured: the same command without --quick")
    click.echo(f"store {store.path}, report {store.path / PAGE}")


def terminal_width() -> int:
    """Columns of the terminal; 80, or the environment's COLUMNS, where the output is none."""
    return shutil.get_terminal_size().columns


def written(write: Callable[[Any, Path], None], store: Any, path: Path) -> None:
    """Let ``write`` write a report of ``store`` to ``path``.

    Raises
    ------
    InputError
        When ``path`` can't be written.
    """
    try:
        write(store, path)
    except OSError as error:
        raise InputError(
            f"the report can't be written to {str(path)!r} ({error.strerror}); the results are stored: "
            "`benchmarks report` writes it later"
        ) from error


@click.command()
@store_option
@data_options
@head_options
@click.option("--folds", type=int, default=5, show_default=True, help="Of the cross-validation.")
@json_option
def canary(
    store: Path,
    backbones: Sequence[str],
    view: str,
    label: str,
    heads: Sequence[str],
    files: Sequence[Path],
    seed: int,
    workers: int | None,
    time_limit: float,
    memory_limit: int | None,
    folds: int,
    as_json: bool,
) -> None:
    """Run all heads on shuffled labels: one that still scores above chance has seen what it must not see."""
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks canary")
    from benchmarks.canary import watch
    from benchmarks.protocols import Protocol
    from benchmarks.runner import Limits, run
    from featurestore import open as open_store

    opened = open_store(store)
    with ConsoleProgress("canary", "cells") as progress:
        (report,) = run(
            opened,
            heads=_chosen(heads, files),
            protocols=[Protocol("cv", folds=folds, seed=seed)],
            backbones=backbones,
            view=view,
            label=label,
            seed=seed,
            canary=True,
            limits=Limits(workers, time_limit, memory_limit),
            on_progress=progress,
        )
    rows = watch(opened, report.run_id)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows]))
    else:
        click.echo(f"labels shuffled; chance is {rows[0].chance:.3f}")
        for row in rows:
            told = "FAILED TO RUN" if row.accuracy is None else f"{row.accuracy:.3f}  p {row.p_holm:.3f}"
            click.echo(f"{row.backbone:<24}{row.head:<24}{told}{'  LEAK: better than chance' if row.leaks else ''}")
    if any(row.leaks or row.accuracy is None for row in rows):
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
    from benchmarks.significance import detectable
    from featurestore import open as open_store

    opened = open_store(store)
    rows = n_rows or len(opened.sql("SELECT ImgId FROM " + '"' + view.replace('"', '""') + '"'))
    comparisons = comparisons or len(find([], protocol="cv")) * max(1, len(opened.backbones())) - 1
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
@click.option(
    "--head-file", "files", multiple=True, type=FOLDER, help="Python file with heads of your own; repeatable."
)
@click.option("--check", is_flag=True, help="Run the contract that every head must keep.")
@click.option("--head", "names", multiple=True, help="Only this one; repeatable.")
@json_option
def heads(files: Sequence[Path], check: bool, names: Sequence[str], as_json: bool) -> None:
    """List the heads, or check them."""
    from benchmarks.heads.registry import find

    rows = []
    for spec in find(names, files=files):
        row: dict[str, Any] = {"name": spec.name, "about": spec.about, "protocols": list(spec.sets)}
        if check:
            from benchmarks.heads.contract import violations

            row["violations"] = violations(spec)
        rows.append(row)
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
