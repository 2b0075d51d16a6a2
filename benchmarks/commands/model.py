"""The commands `fit` and `predict`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks.commands.options import templates_option
from featurestore import visible
from featurestore.commands.options import (
    PATH,
    PLACE,
    SEED,
    TensorName,
    backbone_file_option,
    chosen_backbone,
    json_option,
    store_option,
    verbose_option,
)
from featurestore.progress import ConsoleProgress


@click.command()
@store_option
@click.argument("head")
@click.option("--backbone", required=True, help="Backbone whose embeddings the head is fitted on; A+B joins two.")
@click.option("--view", default="labeled", show_default=True, help="A view with ImgId and a label.")
@click.option("--label", help="The view's label column.  [default: the collection's]")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Seed of a head that is random.")
@click.option("--head-file", "files", multiple=True, type=PATH, help="Python file with heads of your own.")
@templates_option
@click.option("--trust", multiple=True, metavar="TYPE", help="A type that an own head holds; repeatable.")
@click.option("-o", "--output", type=PATH, required=True, help="Folder to write.")
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
    """Fit HEAD on all rows and write it as a folder that is read without pickle."""
    from featurestore._optional import import_extra

    import_extra("sklearn", "bench", needed_by="benchmarks fit")
    from benchmarks.heads.registry import find
    from benchmarks.models.folder import save
    from benchmarks.plan.prompts import Prompting, templates_of
    from benchmarks.run.fit import fit as fit_head
    from featurestore import open as open_store

    (spec,) = find([head], files=files)
    opened = open_store(store)
    with ConsoleProgress("fit", "heads") as progress:
        classifier, card = fit_head(
            opened,
            spec,
            backbone,
            view=view,
            label=label,
            seed=seed,
            prompting=Prompting(templates_of(templates)),
            on_progress=progress,
        )
    save(classifier, card, output, trust=trust)
    mark = ", SYNTHETIC" if card["synthetic"] else ""
    click.echo(f"{output}: {head} over {backbone}, {card['n_rows']:,} rows, {len(card['classes'])} classes{mark}")


@click.command()
@click.argument("model", type=PATH)
@click.argument("images", type=PLACE, nargs=-1, required=True)
@click.option("--store", type=PATH, help="A store: also name the nearest labelled images in it.")
@click.option("--model", "reference", help="The backbone, if its files have moved.  [default: as `embed` used it]")
@backbone_file_option
@verbose_option
@click.option("--weights", type=PATH, help="Local weights, as for `featurestore embed`.")
@click.option("--tensor", type=TensorName(), help="Tensor of a tflite model, as for `featurestore embed`.")
@click.option("--trust", multiple=True, metavar="TYPE", help="A type that the model may hold; repeatable.")
@click.option("-k", "k", type=click.IntRange(1), default=3, show_default=True, help="How many neighbours.")
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
    """Say what MODEL thinks of IMAGES: probabilities, and the nearest labelled images of a store."""
    from benchmarks.models.folder import load
    from benchmarks.models.predict import backbone_of, predict_images
    from featurestore import open as open_store

    found = load(model, trust=trust)
    backbone = backbone_of(found, reference=chosen_backbone(reference, backbone_file), weights=weights, tensor=tensor)
    opened = open_store(store) if store is not None else None
    predictions = predict_images(images, found, backbone, store=opened, k=k)
    if as_json:
        click.echo(json.dumps({"synthetic": found.card["synthetic"], "answers": [asdict(one) for one in predictions]}))
        return
    if found.card["synthetic"]:
        click.echo("SYNTHETIC data or weights: this says nothing about real images")
    for one in predictions:
        probabilities = "  ".join(f"{visible(label)} {proba:.3f}" for label, proba in one.proba.items())
        click.echo(f"{visible(one.image)}  {probabilities}")
        for neighbour in one.neighbours:
            click.echo(f"    {neighbour['ImgId']:>8}  {neighbour['score']:.4f}  {visible(str(neighbour['label']))}")
