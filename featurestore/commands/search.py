"""The command `similar`."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featurestore.commands.backbone_options import TensorName, backbone_file_option, chosen_backbone, verbose_option
from featurestore.commands.options import (
    PATH,
    PLACE,
    example,
    json_option,
    print_json,
    snapshot_option,
    store_option,
    write_output,
)
from featurestore.terminal import visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@click.command(
    epilog=example(
        "featurestore similar --backbone descriptors --id 10101",
        "featurestore similar --backbone descriptors --image new.jpg -k 20 --html neighbours.html",
        'featurestore similar --backbone clip --text "a red car at night"',
    )
)
@store_option
@snapshot_option
@click.option("--backbone", required=True, help="The backbone whose embeddings are compared.")
@click.option(
    "--id", "ids", type=int, multiple=True, help="Search for images like the one with this ImgId; repeatable."
)
@click.option(
    "--image", type=PLACE, help="Search for images like this file; it is embedded as those of the store were."
)
@click.option(
    "--vector",
    "vectors",
    type=PATH,
    help="Search with the vector in this .npy file, or with each row of a matrix in it.",
)
@click.option(
    "--text",
    multiple=True,
    help="Search for images that show this, with a backbone that also embeds texts; repeatable.",
)
@click.option(
    "--model",
    help="With --image or --text: where the backbone's files are now, as in onnx:FILE.  "
    "[default: where `embed` found them]",
)
@backbone_file_option
@verbose_option
@click.option("--weights", type=PATH, help="With --image or --text: the folder of the weights, as for `embed`.")
@click.option("--tensor", type=TensorName(), help="With --image: the tensor that is the embedding, as for `embed`.")
@click.option("-k", "k", type=int, default=10, show_default=True, help="How many images to find.")
@click.option(
    "--where",
    metavar="SQL",
    help="Search only images for which this condition holds, over the columns of the view collection.",
)
@click.option(
    "--metric",
    type=click.Choice(["cosine", "inner_product", "euclidean"]),
    default="cosine",
    show_default=True,
    help="How vectors are compared.",
)
@click.option("--include-self", is_flag=True, help="With --id: also find the image itself.")
@click.option("--html", type=PATH, help="Also show the images on a page, written to this file.")
@json_option
def similar(
    store: str,
    snapshot: str | None,
    backbone: str,
    ids: Sequence[int],
    image: str | Path | None,
    vectors: Path | None,
    text: Sequence[str],
    model: str | None,
    backbone_file: Path | None,
    weights: Path | None,
    tensor: str | int | None,
    k: int,
    where: str | None,
    metric: str,
    include_self: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Find the images nearest to an image or a text.

    Every embedding is compared. A line names the query, rank, ImgId and score of a found image, its label and title.
    """
    from featurestore import FeatureStore, quote_name
    from featurestore.files import PAGE, format_of

    if html is not None:
        format_of(html, None, PAGE)
    model = chosen_backbone(model, backbone_file)
    _refuse_misplaced(image, text, loads=bool(model or weights or tensor is not None))
    query = _query(ids, image, vectors, text)
    with FeatureStore.open(store, snapshot=snapshot, isolated=True) as opened:
        found = opened.similar(
            query,
            text=text or None,
            backbone=backbone,
            k=k,
            where=where,
            metric=metric,
            model=model,
            weights=weights,
            tensor=tensor,
            include_self=include_self,
        )
        if html is not None:
            write_output(html, opened.contact_sheet(found, image=image).encode())
        names = dict.fromkeys((opened.title, opened.label, "ImgName"))
        titles = opened.query(f"SELECT ImgId, {', '.join(map(quote_name, names))} FROM collection").to_pylist()
    known = {row["ImgId"]: row for row in titles}
    starts = _starts(found.queries, image, vectors, text)
    rows = [
        {**row, "query": starts[row["query"]], **{name: known.get(row["ImgId"], {}).get(name) for name in names}}
        for row in found.to_arrow().to_pylist()
    ]
    if as_json:
        print_json([{**row, "synthetic": found.synthetic} for row in rows])
        return
    _print(rows, label=opened.label, title=opened.title, synthetic=found.synthetic)
    if html is not None:
        click.echo(f"contact sheet {html}")


def _refuse_misplaced(image: str | Path | None, text: Sequence[str], *, loads: bool) -> None:
    if loads and image is None and not text:
        raise click.UsageError("--model, --backbone-file, --weights and --tensor are for --image and --text: name one")


def _query(ids: Sequence[int], image: str | Path | None, vectors: Path | None, text: Sequence[str]) -> Any:
    """The one query that is named; None for texts."""
    if (len(ids) > 0) + (image is not None) + (vectors is not None) + (len(text) > 0) != 1:
        raise click.UsageError("name either --id, --image, --vector or --text")
    return image or (None if text else list(ids) if vectors is None else _read_vectors(vectors))


def _starts(
    queries: Sequence[int | None], image: str | Path | None, vectors: Path | None, text: Sequence[str]
) -> list[int | str]:
    """What the first column calls each query."""
    if text:
        return list(text)
    return [str(image or f"{vectors}[{n}]") if one is None else one for n, one in enumerate(queries)]


def _print(rows: Sequence[dict[str, Any]], *, label: str, title: str, synthetic: bool) -> None:
    from featurestore import label_text

    if synthetic:
        click.echo("SYNTHETIC images or weights: these neighbours say nothing about real images")
    for row in rows:
        name = visible(label_text(row[title]) or label_text(row["ImgName"]))
        query, shown = visible(str(row["query"])), visible(label_text(row[label]))
        click.echo(f"{query}  {row['rank']:>3}  {row['ImgId']:>8}  {row['score']:.4f}  {shown:<12} {name}")


def _read_vectors(path: Path) -> "NDArray[np.floating]":
    """Query vectors from a NumPy file; nothing is unpickled."""
    import numpy as np

    from featurestore.errors import InputError
    from featurestore.files import MEGABYTE, read_file, why

    try:
        vectors = np.load(io.BytesIO(read_file(path, limit=1024 * MEGABYTE, pipes=True)), allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python: a damaged one may raise any error
        raise InputError(f"{str(path)!r} holds no vectors ({why(error)[:200]}): name an .npy file of floats") from error
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f":
        raise InputError(f"{str(path)!r} holds no floats: name an .npy file with one vector, or one per row")
    return vectors
