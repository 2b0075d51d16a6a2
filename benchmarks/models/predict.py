"""A fitted head asked about image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import folder as models
from featurestore import FeatureStore
from featurestore.errors import BackboneError, FeatureStoreError, InputError
from featurestore.features.labels import has_label
from featurestore.storage.names import quote_name

if TYPE_CHECKING:
    from featurestore.backbones.base import Backbone


@dataclass(frozen=True)
class Answer:
    """What a model says of one image: ``proba`` by class, most probable first, and the nearest labelled images."""

    image: str
    proba: dict[str, float]
    neighbours: list[dict[str, Any]]


def backbone_of(
    model: models.Model,
    *,
    reference: str | None = None,
    weights: Path | None = None,
    tensor: str | int | None = None,
) -> "Backbone":
    """The backbone that a model's vectors are made by.

    Parameters
    ----------
    reference, weights, tensor
        As the user named them, see `featurestore.backbones.registry.load`. Without a reference it is the backbone that
        the card names, which must be an installed one: a model from elsewhere does not choose a file to run.

    Raises
    ------
    InputError
        When the model learned from several backbones, or its card names none that is installed.
    BackboneError
        When it can't be loaded, or its weights are others than the card's.
    """
    from featurestore.backbones.registry import by_name, load

    name, made_with = model.card["backbone"], model.card["weights"]
    if "+" in name or len(made_with) != 1:
        raise InputError(f"the model learned from {name}, several backbones: embed with each and use it from Python")
    if reference is None:
        try:
            reference = by_name(name)
        except BackboneError as error:
            raise InputError(
                f"the model's card names a backbone that can't be loaded by its name ({error}): name the network that "
                "the model learned from with --model-backbone"
            ) from error
    return load(reference, weights=weights, tensor=tensor, expected_weights=made_with[0])


def embed_images(paths: Sequence[Path], model: models.Model, backbone: "Backbone") -> NDArray[np.float32]:
    """The vectors ``(n, d)`` of image files, made as those were that the model learned from.

    Raises
    ------
    InputError
        When a file is no usable image, or the backbone is of another revision than the model's.
    """
    from featurestore.collections.images import decode, read_image
    from featurestore.embedding.forward import forward

    card = model.card
    if backbone.spec.revision != card["revision"]:
        raise InputError(
            f"the model learned from revision {card['revision']} of {card['backbone']!r} "
            f"({', '.join(card.get('sources', ()))}), got {backbone.spec.revision}: name the same weights "
            "(--model-backbone, --weights, --tensor)"
        )
    how = backbone.spec.preprocessing
    vectors = []
    for path in paths:
        try:
            image = decode(read_image(path, pipes=True), height=how.height, width=how.width)
        except OSError as error:
            raise InputError(f"the image {str(path)!r} can't be read ({error.strerror}): name a file") from error
        except FeatureStoreError as error:
            raise InputError(f"{str(path)!r} is no usable image: {error}") from error
        vectors.append(forward(backbone, image[None])[0])
    return np.stack(vectors)


def answer(
    paths: Sequence[Path], model: models.Model, backbone: "Backbone", *, store: FeatureStore | None = None, k: int = 3
) -> list[Answer]:
    """Probabilities of each image and, with a store, the ``k`` nearest labelled images by cosine."""
    vectors = embed_images(paths, model, backbone)
    near: list[list[dict[str, Any]]] = [[] for _ in paths]
    if store is not None:
        near = _nearest(store, model.card, vectors, k)
    answers = []
    for path, proba, neighbours in zip(paths, model.predict_proba(vectors), near, strict=True):
        order = np.argsort(-proba, kind="stable")
        answers.append(Answer(str(path), {model.classes[i]: float(proba[i]) for i in order}, neighbours))
    return answers


def _nearest(
    store: FeatureStore, card: dict[str, Any], vectors: NDArray[np.float32], k: int
) -> list[list[dict[str, Any]]]:
    view, label = (quote_name(card[name]) for name in ("view", "label"))
    labels = {
        row["ImgId"]: row["label"] for row in store.sql(f"SELECT ImgId, {label} AS label FROM {view}").to_pylist()
    }
    where = f"ImgId IN (SELECT ImgId FROM {view})"
    unlabelled = [str(img_id) for img_id, value in labels.items() if not has_label(value)]
    if unlabelled:
        where += f" AND ImgId NOT IN ({', '.join(unlabelled)})"
    found = store.similar(vectors, backbone=card["backbone"], k=k, where=where)
    return [
        [
            {"ImgId": int(img_id), "score": float(score), "label": str(labels[int(img_id)])}
            for img_id, score in zip(ids, scores, strict=True)
            if img_id >= 0
        ]
        for ids, scores in zip(found.ids, found.scores, strict=True)
    ]
