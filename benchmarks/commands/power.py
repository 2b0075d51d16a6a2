"""The command `power`."""

import json
from functools import partial
from pathlib import Path

import click

from featurestore.commands.options import json_option, store_option


@click.command()
@store_option
@click.option("--view", default="labeled", show_default=True, help="A view with ImgId.")
@click.option("--split", metavar="COLUMN", help="Also the protocol given: the view's column with train and test.")
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Folds of the cross-validation.")
@click.option("--repeats", type=click.IntRange(1), default=10, show_default=True, help="Repeats of the folds.")
@click.option(
    "--rows", "n_rows", type=click.IntRange(10), help="How many rows there would be.  [default: those of the view]"
)
@click.option(
    "--discordance",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.25,
    show_default=True,
    help="Share of rows that exactly one of two heads predicts correctly.",
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
    split: str | None,
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
    from benchmarks.plan.dataset import test_share
    from benchmarks.scores.difference import detectable
    from featurestore import open as open_store
    from featurestore import quote_name

    opened = open_store(store)
    rows = n_rows or len(opened.sql(f"SELECT ImgId FROM {quote_name(view)}"))
    # The majority head is not one of the compared rows, so Holm's correction does not count it.
    learned = [head for head in find([], protocol="cv") if head.name != "majority"]
    comparisons = comparisons or len(learned) * max(1, len(opened.backbones())) - 1
    smallest = partial(detectable, discordance=discordance, comparisons=comparisons)
    found = {
        "study": smallest(n_rows=rows, folds=5, repeats=0),
        f"cv {folds} × 1": smallest(n_rows=rows, folds=folds, repeats=1),
        f"cv {folds} × {repeats}": smallest(n_rows=rows, folds=folds, repeats=repeats),
    }
    if split is not None:
        share = test_share(opened, view=view, split=split)
        found["given"] = smallest(n_rows=round(rows * share), folds=1, repeats=0)
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
        text = (
            "any difference of accuracy" if difference is None else f"a difference of accuracy below {difference:.3f}"
        )
        click.echo(f"{name:<12}{text} will probably not be detected")
