"""The command `doubtful`."""

from pathlib import Path

import click

from benchmarks.commands.report import run_option
from featurestore.commands.options import (
    PATH,
    exact_option,
    example,
    json_option,
    print_json,
    store_option,
    write_output,
)


@click.command(epilog=example("benchmarks doubtful", "benchmarks doubtful -n 100 -o doubtful.html"))
@store_option
@run_option
@click.option(
    "-n", "most", type=click.IntRange(1), default=50, show_default=True, help="List at most this many images."
)
@click.option(
    "-o", "--output", type=PATH, help="Also write the list to this file: .csv, or .html for a page with the images."
)
@exact_option
@json_option
def doubtful(store: str, run_id: str | None, most: int, output: Path | None, exact: bool, as_json: bool) -> None:
    """List labels that the heads contradict.

    The stored predictions of all heads of a run are averaged and compared with the labels (confident learning). Nothing
    is trained and nothing is changed.
    """
    from benchmarks.report.gallery import cards, doubtful_lines, known_images, title_of
    from benchmarks.report.image_lists import as_csv, as_lines, as_page
    from benchmarks.results.breakdown import image_probabilities, rows_of
    from benchmarks.results.doubtful import COLUMNS, asked_run, doubtful_labels, named, summary
    from featurestore import open as open_store
    from featurestore.errors import InputError
    from featurestore.files import format_of

    form = None if output is None else format_of(output, None, {"csv": (".csv",), "html": (".html", ".htm")})
    opened = open_store(store)
    run = asked_run(opened, run_id)
    predicted = rows_of(opened, run)
    probabilities = image_probabilities(predicted)
    if probabilities is None:
        raise InputError(f"no head of the run {run['run_id']} has learned anything: run others with `benchmarks run`")
    found = doubtful_labels(probabilities)
    known = known_images(opened)
    names = {img_id: {"ImgName": row["ImgName"], "title": title_of(row, img_id)} for img_id, row in known.items()}
    rows = [row | names.get(row["ImgId"], {"ImgName": "", "title": ""}) for row in named(found[:most], run["classes"])]
    notes = summary(run, probabilities, found, rows=sum(head != "majority" for _, head in predicted))
    if output is not None and form == "csv":
        write_output(output, as_csv(rows, COLUMNS, exact=exact))
    elif output is not None:
        shown = cards(known, [doubtful_lines(one, run["classes"]) for one in found[:most]])
        title = f"Doubtful labels: {len(shown)} of {len(found)}"
        write_output(output, as_page(title, notes, shown, synthetic=run["synthetic"]))
    if as_json:
        print_json({"run": run["run_id"], "doubtful": len(found), "synthetic": run["synthetic"], "labels": rows})
        return
    for line in (*as_lines(rows), *notes):
        click.echo(line)
    if output is not None:
        click.echo(str(output))
