"""Predictions of a fitted head for image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.models import folder as models
from featurestore import (
    Backbone,
    FeatureStore,
    StoredRevision,
    embed_files,
    find_backbone,
    has_label,
    label_text,
    quote_name,
)
from featurestore.errors import InputError


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
        As the user named them, see `featurestore.find_backbone`. Without them it is loaded from where `embed` last
        loaded it on this machine, or by its name: a model from elsewhere does not choose a file to run.

    Raises
    ------
    InputError
        When the model learned from several backbones, or the one that its card names is not found.
    BackboneError
        When the one that the user named can't be loaded, or its weights are others than the card's.
    """
    name, made_with = model.card["backbone"], model.card["weights"]
    if "+" in name or len(made_with) != 1:
        raise InputError(f"the model learned from {name}, several backbones: embed with each and use it from Python")
    options, preprocessing = (_only(model.card.get(field)) for field in ("options", "preprocessing"))
    stored = StoredRevision(name, model.card["revision"], made_with[0], options, preprocessing)
    return find_backbone(stored, model=reference, weights=weights, tensor=tensor)


def _only(found: Any) -> dict[str, Any]:
    """The record of the only backbone in a field of a card; earlier versions wrote none."""
    fits = isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict)
    return found[0] if fits else {}


def embed_images(paths: Sequence[str | Path], model: models.Model, backbone: Backbone) -> NDArray[np.float32]:
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
            "(--model, --weights, --tensor)"
        )
    return embed_files(backbone, paths)


def predict_images(
    paths: Sequence[str | Path],
    model: models.Model,
    backbone: Backbone,
    *,
    store: FeatureStore | None = None,
    k: int = 3,
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
