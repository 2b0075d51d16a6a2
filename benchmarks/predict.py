"""Using a head: fitted on all rows of a view for good, and asked about image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import models
from benchmarks.dataset import from_store
from benchmarks.heads.base import HeadSpec
from benchmarks.metrics import wilson
from benchmarks.queries import comparison, runs
from benchmarks.results import library_versions
from featurestore import FeatureStore
from featurestore.errors import FeatureStoreError, InputError
from featurestore.names import quote_name
from featurestore.progress import Progress

if TYPE_CHECKING:
    from featurestore.backbones.base import Backbone


@dataclass(frozen=True)
class Answer:
    """What a model says of one image: ``proba`` by class, most probable first, and the nearest labelled images."""

    image: str
    proba: dict[str, float]
    neighbours: list[dict[str, Any]]


def fit(
    store: FeatureStore,
    head: HeadSpec,
    backbone: str,
    *,
    view: str = "labeled",
    label: str = "Genre1",
    seed: int = 0,
    on_progress: Progress | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Fit ``head`` on every row that has a label and an embedding; the classifier and its card.

    ``on_progress`` is for heads that try many others: it is called with how many were tried, and of how many.

    Raises
    ------
    InputError
        When the view, label or backbone don't fit, or rows have several labels.
    """
    dataset = from_store(store, backbone, view=view, label=label)
    if dataset.y.ndim == 2:
        raise InputError(f"{label} holds several labels a row: fit one that holds one")
    classifier = head.build(seed=seed)
    if on_progress is not None and hasattr(classifier, "on_progress"):
        classifier.on_progress = on_progress
    classifier.fit(dataset.X, dataset.y)
    parts = [info for info in store.backbones() if info.name in backbone.split("+")]
    card = {
        "head": head.name,
        "about": head.about,
        "settings": {name: list(v) if isinstance(v, tuple) else v for name, v in head.parameters.items()},
        "chosen": {name: _plain(value) for name, value in getattr(classifier, "chosen_", {}).items()},
        "seed": seed,
        "classes": list(dataset.classes),
        "backbone": backbone,
        "revision": dataset.revision,
        "weights": [info.weights for info in parts],
        "sources": [info.source for info in parts],
        "embed_dim": dataset.X.shape[1],
        "view": view,
        "label": label,
        "n_rows": len(dataset.y),
        "state_id": dataset.state_id,
        "data_hash": dataset.data_hash,
        "synthetic": dataset.synthetic,
        "libraries": library_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "scores": _scores(store, head.name, backbone, view, label),
    }
    return classifier, card


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _scores(store: FeatureStore, head: str, backbone: str, view: str, label: str) -> list[dict[str, Any]]:
    """What the newest runs of each protocol say of this head, with intervals; empty when there are none."""
    try:
        newest = {run["protocol"]: run for run in reversed(runs(store)) if (run["view"], run["label"]) == (view, label)}
    except InputError:  # no run yet: the card says so
        return []
    found = []
    for protocol, run in newest.items():
        for row in comparison(store, run):
            if (row["head"], row["backbone"], row["size"]) == (head, backbone, 1.0) and row["accuracy"] is not None:
                interval = list(wilson(row["accuracy_pooled"] * row["n_test"], row["n_test"]))
                scores = {name: row[name] for name in ("accuracy", "balanced_accuracy", "f1_macro", "log_loss")}
                about = {"protocol": protocol, "protocol_text": run["protocol_text"], "run_id": run["run_id"]}
                found.append({**about, **scores, "interval": interval})
    return found


def embed_images(paths: Sequence[Path], model: models.Model, backbone: "Backbone") -> NDArray[np.float32]:
    """The vectors ``(n, d)`` of image files, made as those were that the model learned from.

    Raises
    ------
    InputError
        When a file is no usable image, or the backbone is of another revision than the model's.
    """
    from featurestore.images import decode, read_image

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
        vectors.append(np.asarray(backbone.embed(how.apply(image[None])), np.float32)[0])
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
    found = store.similar(vectors, backbone=card["backbone"], k=k, where=where)
    return [
        [
            {"ImgId": int(img_id), "score": float(score), "label": labels.get(int(img_id))}
            for img_id, score in zip(ids, scores, strict=True)
            if img_id >= 0
        ]
        for ids, scores in zip(found.ids, found.scores, strict=True)
    ]
