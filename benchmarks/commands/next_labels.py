"""The command `next`."""

from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.commands.options import head_file_option
from featurestore.commands.options import (
    PATH,
    SEED,
    exact_option,
    example,
    json_option,
    print_json,
    store_option,
    write_output,
)
from featurestore.progress import ConsoleProgress


@click.command("next", epilog=example("benchmarks next -n 20", "benchmarks next --backbone clip -o next.csv"))
@store_option
@click.option(
    "--backbone",
    help="Use the embeddings of this backbone. A+B puts those of two side by side.  [default: the only one]",
)
@click.option("--head", default="logistic_regression", show_default=True, help="The head that learns from the labels.")
@head_file_option
@click.option(
    "--view",
    default="collection",
    show_default=True,
    help="The images: a view with the columns ImgId and the label, which is empty for some.",
)
@click.option("--label", help="The column of the view with the label.  [default: that of the collection]")
@click.option("-n", "count", type=click.IntRange(1), default=50, show_default=True, help="How many images to choose.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="The same seed chooses the same images.")
@click.option("-o", "--output", type=PATH, help="Also write the list to this CSV file.")
@exact_option
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
    exact: bool,
    as_json: bool,
) -> None:
    """Choose the images to label next.

    Among the images without a label it chooses those that a head is least sure of, and no two that are alike.
    """
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks next")
    from benchmarks.report.gallery import known_images, title_of
    from benchmarks.report.image_lists import as_csv, as_lines
    from benchmarks.run.head_files import find_heads
    from benchmarks.run.next_labels import COLUMNS, candidates, next_labels
    from featurestore import open as open_store
    from featurestore.files import format_of

    if output is not None:
        format_of(output, None, {"csv": (".csv",)})
    (spec,) = find_heads([head], files=files)
    opened = open_store(store)
    with ConsoleProgress("next", "heads") as progress:
        found = next_labels(
            opened, spec, backbone=backbone, view=view, label=label, n=count, seed=seed, on_progress=progress
        )
    known = known_images(opened)
    names = {img_id: {"ImgName": row["ImgName"], "title": title_of(row, img_id)} for img_id, row in known.items()}
    rows = [row | names.get(row["ImgId"], {"ImgName": "", "title": ""}) for row in candidates(found)]
    if output is not None:
        write_output(output, as_csv(rows, COLUMNS, exact=exact))
    if as_json:
        about = {"unlabelled": found.unlabelled, "labelled": found.labelled, "synthetic": found.synthetic}
        print_json({**about, "backbone": found.backbone, "head": head, "images": rows})
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
