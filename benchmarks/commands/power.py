"""The command `power`."""

from functools import partial

import click

from featurestore.commands.options import example, json_option, print_json, store_option

# What is assumed of two heads where no run is stored: heads over one backbone disagree less, over two backbones more.
ASSUMED = 0.15


@click.command(epilog=example("benchmarks power", "benchmarks power --rows 5000"))
@store_option
@click.option("--view", default="labeled", show_default=True, help="The images: a view with a column ImgId.")
@click.option(
    "--split",
    metavar="COLUMN",
    help="Also answer for a split of your own: the column of the view that says train or test.",
)
@click.option(
    "--folds", type=click.IntRange(2), default=5, show_default=True, help="Cut the images into this many folds."
)
@click.option(
    "--repeats", type=click.IntRange(1), default=10, show_default=True, help="Draw the folds anew this many times."
)
@click.option(
    "--rows", "n_rows", type=click.IntRange(10), help="Answer for this many images.  [default: as many as the view has]"
)
@click.option(
    "--discordance",
    type=click.FloatRange(0, 1, min_open=True),
    help="The share of images that one of two heads predicts correctly and the other does not.  "
    "[default: as in the stored runs, 0.15 without any]",
)
@click.option(
    "--candidates",
    type=click.IntRange(2),
    help="How many rows of the table are compared with each other.  [default: one for each head and backbone]",
)
@json_option
def power(
    store: str,
    view: str,
    split: str | None,
    folds: int,
    repeats: int,
    n_rows: int | None,
    discordance: float | None,
    candidates: int | None,
    as_json: bool,
) -> None:
    """Print how small a difference a run can detect.

    Ask before a run: a difference of accuracy that is smaller than the one named will probably not be significant.
    """
    from featurestore._optional import import_extra

    import_extra("scipy", "bench", needed_by="benchmarks power")
    from benchmarks.heads.registry import find
    from benchmarks.plan.reading import test_share
    from benchmarks.results.disagreement import disagreement
    from benchmarks.scores.power import detectable
    from featurestore import open as open_store
    from featurestore import quote_name

    opened = open_store(store)
    rows = n_rows or len(opened.sql(f"SELECT ImgId FROM {quote_name(view)}"))
    # The majority head is no candidate, so that no comparison is corrected for it; few backbones have a text tower.
    learned = [head for head in find([], protocol="cv") if head.name != "majority" and not head.needs_text]
    candidates = candidates or max(2, len(learned) * max(1, len(opened.backbones())))
    stored = disagreement(opened, view=view) if discordance is None else None
    assumed = discordance or stored or ASSUMED
    smallest = partial(detectable, discordance=assumed, candidates=candidates)
    found = {
        "study": smallest(n_rows=rows, folds=5, repeats=0),
        f"cv {folds} × 1": smallest(n_rows=rows, folds=folds, repeats=1),
        f"cv {folds} × {repeats}": smallest(n_rows=rows, folds=folds, repeats=repeats),
    }
    if split is not None:
        share = test_share(opened, view=view, split=split)
        found["given"] = smallest(n_rows=round(rows * share), folds=1, repeats=0)
    if as_json:
        named = {"rows": rows, "discordance": assumed, "from_stored_runs": stored is not None, "candidates": candidates}
        print_json(named | {"detectable": found})
        return
    source = " (as in the stored runs)" if stored is not None else ""
    click.echo(
        f"{rows:,} rows; heads that disagree on {assumed:.0%} of them{source}; {candidates} rows in the table, all "
        "compared; 5 % error for all claims together, power 80 %"
    )
    for name, difference in found.items():
        text = (
            "any difference of accuracy" if difference is None else f"a difference of accuracy below {difference:.3f}"
        )
        click.echo(f"{name:<12}{text} will probably not be seen")
