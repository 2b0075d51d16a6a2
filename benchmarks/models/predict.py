"""Predictions of a fitted head for image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import folder as models
from featurestore import Backbone, FeatureStore, embed_files, has_label, label_text, load_backbone, quote_name
from featurestore.errors import BackboneError, InputError


@dataclass(frozen=True)
class Prediction:
    """What a model predicts for one image: ``proba`` by class, most probable first, and the nearest labelled images."""

    image: str
    proba: dict[str, float]
    neighbours: list[dict[str, Any]]


def backbone_of(
    model: models.Model,
    *,
    reference: str | None = None,
    weights: Path | None = None,
    tensor: str | int | None = None,
) -> Backbone:
    """The backbone that computed the vectors a model was fitted on.

    Parameters
    ----------
    reference, weights, tensor
        As the user named them, see `featurestore.load_backbone`. Without a reference it is the backbone that the card
        names, which must be an installed one: a model from elsewhere does not choose a file to run.

    Raises
    ------
    InputError
        When the model learned from several backbones, or the one that its card names can't be loaded by its name.
    BackboneError
        When the one that the user named can't be loaded, or its weights are others than the card's.
    """
    name, made_with = model.card["backbone"], model.card["weights"]
    if "+" in name or len(made_with) != 1:
        raise InputError(f"the model learned from {name}, several backbones: embed with each and use it from Python")
    if reference is not None:
        return load_backbone(reference, weights=weights, tensor=tensor, expected_weights=made_with[0])
    try:
        return load_backbone(name, trusted=False, weights=weights, tensor=tensor, expected_weights=made_with[0])
    except BackboneError as error:
        raise InputError(
            f"the model's card names a backbone that can't be loaded by its name ({error}): name the network that the "
            "model learned from (--model-backbone, --weights, --tensor)"
        ) from error


def embed_images(paths: Sequence[Path], model: models.Model, backbone: Backbone) -> NDArray[np.float32]:
    """The vectors ``(n, d)`` of image files, made as those were that the model learned from.

    Raises
    ------
    InputError
        When the backbone is of another revision than the model's, or as `featurestore.embed_files`.
    BackboneError
        As `featurestore.embed_files`.
    """
    card = model.card
    if backbone.spec.revision != card["revision"]:
        raise InputError(
            f"the model learned from revision {card['revision']} of {card['backbone']!r} "
            f"({', '.join(card.get('sources', ()))}), got {backbone.spec.revision}: name the same weights "
            "(--model-backbone, --weights, --tensor)"
        )
    return embed_files(backbone, paths)


def predict_images(
    paths: Sequence[Path], model: models.Model, backbone: Backbone, *, store: FeatureStore | None = None, k: int = 3
) -> list[Prediction]:
    """Probabilities of each image and, with a store, the ``k`` nearest labelled images by cosine."""
    vectors = embed_images(paths, model, backbone)
    near: list[list[dict[str, Any]]] = [[] for _ in paths]
    if store is not None:
        near = _nearest(store, model.card, vectors, k)
    predictions = []
    for path, proba, neighbours in zip(paths, model.predict_proba(vectors), near, strict=True):
        order = np.argsort(-proba, kind="stable")
        predictions.append(Prediction(str(path), {model.classes[i]: float(proba[i]) for i in order}, neighbours))
    return predictions


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
            {"ImgId": int(img_id), "score": float(score), "label": label_text(labels[int(img_id)])}
            for img_id, score in zip(ids, scores, strict=True)
            if img_id >= 0
        ]
        for ids, scores in zip(found.ids, found.scores, strict=True)
    ]
