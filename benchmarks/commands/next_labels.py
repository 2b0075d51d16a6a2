"""The command `next`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from featurestore.commands.options import PATH, SEED, json_option, store_option, write_output
from featurestore.progress import ConsoleProgress


@click.command("next")
@store_option
@click.option("--backbone", help="Backbone whose embeddings are used; A+B joins two.  [default: the only one]")
@click.option("--head", default="logistic_regression", show_default=True, help="Head that learns from the labels.")
@click.option("--head-file", "files", multiple=True, type=PATH, help="Python file with heads of your own; repeatable.")
@click.option(
    "--view", default="collection", show_default=True, help="A view with ImgId and a label; some rows without."
)
@click.option("--label", help="The view's label column.  [default: the collection's]")
@click.option("-n", "count", type=click.IntRange(1), default=50, show_default=True, help="How many images.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of the head and of the choice.")
@click.option("-o", "--output", type=PATH, help="CSV file to write.")
@json_option
def next_images(
    store: str,
    backbone: str | None,
    head: str,
    files: Sequence[Path],
    view: str,
    label: str | None,
    count: int,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    """Choose the images without a label to label next: those that a head is unsure of, and no two alike."""
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks next")
    from benchmarks.heads.registry import find
    from benchmarks.report.gallery import known_images, title_of
    from benchmarks.report.image_lists import as_csv, as_lines
    from benchmarks.run.next_labels import COLUMNS, candidates, next_labels
    from featurestore import open as open_store
    from featurestore.files import format_of

    if output is not None:
        format_of(output, None, {"csv": (".csv",)})
    (spec,) = find([head], files=files)
    opened = open_store(store)
    with ConsoleProgress("next", "heads") as progress:
        found = next_labels(
            opened, spec, backbone=backbone, view=view, label=label, n=count, seed=seed, on_progress=progress
        )
    known = known_images(opened)
    names = {img_id: {"ImgName": row["ImgName"], "title": title_of(row, img_id)} for img_id, row in known.items()}
    rows = [row | names.get(row["ImgId"], {"ImgName": "", "title": ""}) for row in candidates(found)]
    if output is not None:
        write_output(output, as_csv(rows, COLUMNS))
    if as_json:
        about = {"unlabelled": found.unlabelled, "labelled": found.labelled, "synthetic": found.synthetic}
        click.echo(json.dumps({**about, "backbone": found.backbone, "head": head, "images": rows}))
        return
    for line in as_lines(rows):
        click.echo(line)
    mark = ", SYNTHETIC" if found.synthetic else ""
    click.echo(
        f"{len(rows)} of {found.unlabelled:,} different images without a {found.label}, by {head} over "
        f"{found.backbone} on {found.labelled:,} with one{mark}"
    )
    if output is not None:
        click.echo(str(output))
