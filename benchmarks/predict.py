"""Using a head: fitted on all rows of a view for good, and asked about image files."""

import math
import pickle
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import models, worker
from benchmarks.cells import Task, model_key, named_reason, rows_of
from benchmarks.dataset import EmbeddingDataset, from_store
from benchmarks.heads.base import Classifier, HeadSpec
from benchmarks.metrics import wilson
from benchmarks.pool import computed
from benchmarks.probabilities import on_all_classes
from benchmarks.queries import comparison
from benchmarks.results import library_versions
from benchmarks.selection import supporting
from featurestore import FeatureStore
from featurestore.errors import BackboneError, FeatureStoreError, InputError
from featurestore.labels import has_label
from featurestore.names import quote_name
from featurestore.progress import Progress

if TYPE_CHECKING:
    from featurestore.backbones.base import Backbone

# Rows that a head is asked about before it is kept.
ASKED = 8


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
        When the view, label or backbone don't fit, rows have several labels, or the head fails.
    """
    dataset = from_store(store, backbone, view=view, label=label)
    if dataset.y.ndim == 2:
        raise InputError(f"{label} holds several labels a row: fit one that holds one")
    classifier = _fitted_apart(head, dataset, seed, on_progress)
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
        "scores": _scores(store, head, dataset),
    }
    return classifier, card


def _fitted_apart(head: HeadSpec, dataset: EmbeddingDataset, seed: int, on_progress: Progress | None) -> Classifier:
    """``head`` fitted in a process of its own: it may be anybody's code, and end the process that it runs in."""
    head.function()  # what its classifier is made of is known here too
    with tempfile.TemporaryDirectory(prefix="fit-") as folder:
        matrix = Path(folder, "X.npy")
        np.save(matrix, dataset.X)
        rows = np.arange(len(dataset.y))
        task = Task(head, matrix, dataset.y, dataset.groups, rows, rows[:ASKED], len(dataset.classes), seed)
        found = computed(
            _fit,
            [task],
            workers=1,
            failed=lambda sentence: (sentence, b""),
            time_limit=math.inf,
            one_thread=False,
            on_progress=on_progress,
        )
        ((_, (sentence, fitted)),) = found
    if sentence:
        raise InputError(f"the head {head.name!r} can't be fitted: {sentence}")
    return pickle.loads(fitted)


def _fit(task: Task) -> tuple[str, bytes]:
    """Why the head of ``task`` can't be fitted, or the fitted classifier, pickled."""
    try:
        classifier: Any = task.head.build(seed=task.seed)
        watched = hasattr(classifier, "on_progress")
        if watched:
            classifier.on_progress = worker.report
        classifier.fit(rows_of(task, task.train), task.y)
        if watched:
            classifier.on_progress = None
        asked = classifier.predict_proba(rows_of(task, task.test))
        on_all_classes(classifier, asked, n_rows=len(task.test), n_classes=task.n_classes)
        return "", pickle.dumps(classifier)
    except FeatureStoreError as error:
        return str(error), b""
    except BaseException as error:  # a head is anybody's code
        return named_reason(error), b""


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _scores(store: FeatureStore, head: HeadSpec, dataset: EmbeddingDataset) -> list[dict[str, Any]]:
    """What stored runs say of this head, with intervals, the best supported first; empty when there are none."""
    found = []
    row, model = (dataset.backbone, head.name), model_key(head, dataset)
    for run in supporting(store, row, model, view=dataset.view, label=dataset.label):
        for scored in comparison(store, run):
            interval = list(wilson(scored["accuracy_pooled"] * scored["n_test"], scored["n_test"]))
            scores = {name: scored[name] for name in ("accuracy", "balanced_accuracy", "f1_macro", "log_loss")}
            about = {name: run[name] for name in ("protocol", "protocol_text", "run_id")}
            found.append({**about, **scores, "interval": interval})
    return found


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
    from featurestore.extract import forward
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
