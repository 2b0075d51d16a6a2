"""The final fit of a head on all rows of a view, in a worker process, and the card of the model."""

import math
import pickle
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads.base import Classifier, HeadSpec
from benchmarks.heads.groups import fit_with_groups
from benchmarks.heads.probabilities import on_all_classes
from benchmarks.plan.cells import Task, model_key, named_reason
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.prompts import Prompting, prompted_head
from benchmarks.plan.reading import from_store
from benchmarks.results.read import comparison
from benchmarks.results.selection import supporting
from benchmarks.results.write import library_versions
from benchmarks.run import worker
from benchmarks.run.cell import rows_of
from benchmarks.run.pool import computed
from benchmarks.scores.metrics import wilson
from featurestore import FeatureStore
from featurestore.errors import FeatureStoreError, InputError
from featurestore.progress import Progress

# Rows that a fitted head must predict before it is accepted.
ASKED = 8


def fit(
    store: FeatureStore,
    head: HeadSpec,
    backbone: str,
    *,
    view: str = "labeled",
    label: str | None = None,
    seed: int = 0,
    prompting: Prompting | None = None,
    on_progress: Progress | None = None,
) -> tuple[Any, dict[str, Any]]:
    """Fit ``head`` on every row that has a label and an embedding; the classifier and its card.

    Without a ``label`` it is that of the collection.
    ``on_progress`` is for heads that try many others: it is called with how many were tried, and of how many.

    Raises
    ------
    InputError
        When the view, label or backbone don't fit, rows have several labels, or the head fails.
    """
    dataset = from_store(store, backbone, view=view, label=label)
    if dataset.y.ndim == 2:
        raise InputError(f"{dataset.label} holds several labels a row: fit one that holds one")
    head = prompted_head(store, head, dataset, prompting or Prompting())
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
        "options": [dict(info.options) for info in parts],
        "preprocessing": [dict(info.preprocessing) for info in parts],
        "embed_dim": dataset.X.shape[1],
        "view": view,
        "label": dataset.label,
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
    """``head`` fitted in a worker process, since code of users may end the process that it runs in."""
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
        fit_with_groups(classifier, rows_of(task, task.train), task.y, task.groups)
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
    """Scores of this head in stored runs, with intervals, the best supported first; empty when there are none."""
    found = []
    row, model = (dataset.backbone, head.name), model_key(head, dataset)
    for run in supporting(store, row, model, view=dataset.view, label=dataset.label):
        for scored in comparison(store, run):
            interval = list(wilson(scored["accuracy_pooled"] * scored["n_test"], scored["n_test"]))
            scores = {name: scored[name] for name in ("accuracy", "balanced_accuracy", "f1_macro", "log_loss")}
            about = {name: run[name] for name in ("protocol", "protocol_text", "run_id")}
            found.append({**about, **scores, "interval": interval})
    return found
