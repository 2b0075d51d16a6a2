"""The command `similar`."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurestore.commands.options import FOLDER, json_option, location_option, snapshot_option, write_output
from featurestore.terminal import visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from featurestore.backbones.base import Backbone
    from featurestore.store import FeatureStore


@click.command()
@location_option
@snapshot_option
@click.option("--backbone", required=True, help="Whose embeddings are compared.")
@click.option("--id", "ids", type=int, multiple=True, help="ImgId to start from; repeatable.")
@click.option("--image", type=FOLDER, help="An image file to start from; embedded with --model.")
@click.option("--vector", "vectors", type=FOLDER, help="An .npy file to start from: one vector, or a row for each.")
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
    vectors: Path | None,
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
    from featurestore.suffixes import PAGE, format_of

    if page is not None:
        format_of(page, None, PAGE)
    if (len(ids) > 0) + (image is not None) + (vectors is not None) != 1:
        raise click.UsageError("name either --id, --image or --vector")
    if image is None and (reference or weights or tensor):
        raise click.UsageError("--model, --weights and --tensor embed an --image: name one, or leave them out")
    query = image or (list(ids) if vectors is None else _read_vectors(vectors))
    with open_store(store, snapshot=snapshot) as opened:
        model = None
        if reference or weights or tensor:
            model = _loaded(opened, backbone, reference, weights, tensor)
        found = opened.similar(query, backbone=backbone, k=k, where=where, metric=metric, model=model)
        if page is not None:
            from featurestore.explore.contact_sheet import render

            write_output(page, render(opened, found, title=f"Neighbours by {backbone}", image=image).encode())
        titles = opened.query("SELECT ImgId, Title, Genre1 FROM collection").to_pylist()
    known = {row["ImgId"]: row for row in titles}
    starts = [str(image or f"{vectors}[{n}]") if query is None else query for n, query in enumerate(found.queries)]
    rows = [
        {**row, "query": starts[row["query"]], **{n: known.get(row["ImgId"], {}).get(n) for n in ("Title", "Genre1")}}
        for row in found.to_arrow().to_pylist()
    ]
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        title, genre = visible(row["Title"] or ""), visible(row["Genre1"] or "")
        click.echo(f"{row['query']}  {row['rank']:>3}  {row['ImgId']:>8}  {row['score']:.4f}  {genre:<12} {title}")
    if page is not None:
        click.echo(f"contact sheet {page}")


def _loaded(
    store: "FeatureStore", backbone: str, reference: str | None, weights: Path | None, tensor: str | None
) -> "Backbone":
    """The backbone that embeds an image as those of ``store`` were; a path to it is taken from the user alone."""
    from featurestore.backbones.registry import by_name, load
    from featurestore.explore.search import weights_of

    number = int(tensor) if tensor is not None and tensor.isdigit() else tensor
    expected = weights_of(store, backbone)
    return load(reference or by_name(backbone), weights=weights, tensor=number, expected_weights=expected)


def _read_vectors(path: Path) -> "NDArray[np.floating]":
    """Query vectors from a NumPy file; nothing is unpickled."""
    import numpy as np

    from featurestore.errors import InputError
    from featurestore.files import MEGABYTE, read_file, why

    try:
        vectors = np.load(io.BytesIO(read_file(path, limit=1024 * MEGABYTE, pipes=True)), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{str(path)!r} holds no vectors ({why(error)}): name an .npy file of floats") from error
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f":
        raise InputError(f"{str(path)!r} holds no floats: name an .npy file with one vector, or a row for each")
    return vectors
