"""The commands `fit` and `predict`."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks.commands.options import head_file_option, templates_option
from featurestore import visible
from featurestore.commands.backbone_options import TensorName, backbone_file_option, chosen_backbone, verbose_option
from featurestore.commands.options import PATH, PLACE, SEED, example, json_option, print_json, say_next, store_option
from featurestore.progress import ConsoleProgress


@click.command(epilog=example("benchmarks fit logistic_regression --backbone descriptors -o genre.model"))
@store_option
@click.argument("head")
@click.option(
    "--backbone",
    required=True,
    help="Train on the embeddings of this backbone. A+B puts those of two side by side.",
)
@click.option(
    "--view", default="labeled", show_default=True, help="The images: a view with the columns ImgId and the label."
)
@click.option("--label", help="The column of the view to predict.  [default: that of the collection]")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed for a head that draws random numbers.")
@head_file_option
@templates_option
@click.option(
    "--trust",
    multiple=True,
    metavar="TYPE",
    help="For a head of your own: also store objects of this Python type, such as mine.Tree; repeatable.",
)
@click.option("-o", "--output", type=PATH, required=True, help="The folder to write.")
def fit(
    store: str,
    head: str,
    backbone: str,
    view: str,
    label: str | None,
    seed: int,
    files: Sequence[Path],
    templates: Path | None,
    trust: Sequence[str],
    output: Path,
) -> None:
    """Train a head on all images, and keep it.

    HEAD is one of `benchmarks heads`. The folder is read without pickle, so that it can be passed on; its README is the
    model card.
    """
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks fit")
    from benchmarks.models.folder import refuse_place, write
    from benchmarks.plan.prompts import Prompting, templates_of
    from benchmarks.run.fit import fit as fit_head
    from benchmarks.run.head_files import find_heads
    from featurestore import open as open_store

    refuse_place(output)
    (spec,) = find_heads([head], files=files)
    opened = open_store(store)
    with ConsoleProgress("fit", "heads") as progress:
        model, card = fit_head(
            opened,
            spec,
            backbone,
            view=view,
            label=label,
            seed=seed,
            prompting=Prompting(templates_of(templates)),
            on_progress=progress,
        )
    write(model, card, output, trust=trust)
    mark = ", SYNTHETIC" if card["synthetic"] else ""
    click.echo(f"{output}: {head} over {backbone}, {card['n_rows']:,} rows, {len(card['classes'])} classes{mark}")
    say_next(f"benchmarks predict {shlex.quote(str(output))} IMAGE")


@click.command(
    epilog=example(
        "benchmarks predict genre.model new.jpg", "benchmarks predict genre.model new.jpg other.jpg --store store -k 5"
    )
)
@click.argument("model", type=PATH)
@click.argument("images", type=PLACE, nargs=-1, required=True)
@click.option("--store", type=PATH, help="Also name the nearest labelled images in this store.")
@click.option(
    "--model",
    "reference",
    help="Where the backbone's files are now, as in onnx:FILE.  [default: where `embed` found them]",
)
@backbone_file_option
@verbose_option
@click.option("--weights", type=PATH, help="The folder of the weights, as for `featurestore embed`.")
@click.option("--tensor", type=TensorName(), help="The tensor that is the embedding, as for `featurestore embed`.")
@click.option(
    "--trust",
    multiple=True,
    metavar="TYPE",
    help="Load objects of this Python type too, if the model holds some and you trust its author, or the file "
    "of weights that it names; repeatable.",
)
@click.option(
    "-k", "k", type=click.IntRange(1), default=3, show_default=True, help="With --store: how many images to name."
)
@json_option
def predict(
    model: Path,
    images: Sequence[str | Path],
    store: str | None,
    reference: str | None,
    backbone_file: Path | None,
    weights: Path | None,
    tensor: str | int | None,
    trust: Sequence[str],
    k: int,
    as_json: bool,
) -> None:
    """Predict the labels of image files.

    MODEL is a folder that `benchmarks fit` wrote, each of IMAGES a file. Each line names the classes with their
    probabilities.
    """
    from benchmarks.models.folder import load
    from benchmarks.models.predict import backbone_of, predict_images
    from featurestore import open as open_store

    found = load(model, trust=trust)
    backbone = backbone_of(found, reference=chosen_backbone(reference, backbone_file), weights=weights, tensor=tensor)
    opened = open_store(store) if store is not None else None
    predictions = predict_images(images, found, backbone, store=opened, k=k)
    if as_json:
        print_json({"synthetic": found.card["synthetic"], "answers": [asdict(one) for one in predictions]})
        return
    if found.card["synthetic"]:
        click.echo("SYNTHETIC data or weights: this says nothing about real images")
    for one in predictions:
        probabilities = "  ".join(f"{visible(label)} {proba:.3f}" for label, proba in one.proba.items())
        click.echo(f"{visible(one.image)}  {probabilities}")
        for neighbour in one.neighbours:
            click.echo(f"    {neighbour['ImgId']:>8}  {neighbour['score']:.4f}  {visible(str(neighbour['label']))}")
