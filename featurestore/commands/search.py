"""The command `similar`."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from featurestore.commands.options import FOLDER, json_option, location_option, snapshot_option, write_output


@click.command()
@location_option
@snapshot_option
@click.option("--backbone", required=True, help="Whose embeddings are compared.")
@click.option("--id", "ids", type=int, multiple=True, help="ImgId to start from; repeatable.")
@click.option("--image", type=FOLDER, help="An image file to start from; embedded with --model.")
@click.option("--model", "reference", help="With --image: the backbone as for `embed`.  [default: --backbone]")
@click.option("--weights", type=FOLDER, help="With --image: local weights, as for `embed`.")
@click.option("--tensor", help="With --image: tensor of a tflite model, as for `embed`.")
@click.option("-k", "k", type=int, default=10, show_default=True, help="How many neighbours.")
@click.option("--where", metavar="SQL", help="Search only rows of `collection` that satisfy this condition.")
@click.option(
    "--metric",
    type=click.Choice(["cosine", "inner_product", "euclidean"]),
    default="cosine",
    show_default=True,
    help="What near means.",
)
@click.option("--html", "page", type=FOLDER, help="Also write a contact sheet to this file.")
@json_option
def similar(
    store: str,
    snapshot: str | None,
    backbone: str,
    ids: Sequence[int],
    image: Path | None,
    reference: str | None,
    weights: Path | None,
    tensor: str | None,
    k: int,
    where: str | None,
    metric: str,
    page: Path | None,
    as_json: bool,
) -> None:
    """Find the images nearest to an image, exactly."""
    from featurestore.store import open_store

    if bool(ids) == (image is not None):
        raise click.UsageError("name either --id or --image")
    with open_store(store, snapshot=snapshot) as opened:
        model = None
        if image is not None:
            from featurestore.backbones.registry import load

            number = int(tensor) if tensor is not None and tensor.isdigit() else tensor
            model = load(reference or backbone, weights=weights, tensor=number)
            _same_revision(opened.state.revisions.get(backbone), model.spec.revision, backbone)
        found = opened.similar(
            image if image is not None else list(ids), backbone=backbone, k=k, where=where, metric=metric, model=model
        )
        if page is not None:
            from featurestore.contact_sheet import render

            write_output(page, render(opened, found, title=f"Neighbours by {backbone}").encode())
        titles = opened.query("SELECT ImgId, Title, Genre1 FROM collection").to_pylist()
    known = {row["ImgId"]: row for row in titles}
    rows = [
        {
            **row,
            "query": found.queries[row["query"]],
            **{n: known.get(row["ImgId"], {}).get(n) for n in ("Title", "Genre1")},
        }
        for row in found.to_arrow().to_pylist()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        start = row["query"] if row["query"] is not None else image
        title, genre = row["Title"] or "", row["Genre1"] or ""
        click.echo(f"{start}  {row['rank']:>3}  {row['ImgId']:>8}  {row['score']:.4f}  {genre:<12} {title}")
    if page is not None:
        click.echo(f"contact sheet {page}")


def _same_revision(stored: str | None, loaded: str, backbone: str) -> None:
    """A query must be embedded exactly as the rows were, or its distances mean nothing."""
    from featurestore.errors import InputError

    if stored is not None and stored != loaded:
        raise InputError(
            f"the store has revision {stored} of {backbone!r}, --model gives {loaded}: "
            "name the same model, weights and tensor"
        )
