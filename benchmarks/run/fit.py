"""The final fit of a head on all rows of a view, in a worker process, and the card of the model."""

import json
import math
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.base import HeadSpec
from benchmarks.heads.groups import fit_with_groups
from benchmarks.heads.probabilities import are_probabilities, on_all_classes
from benchmarks.models.folder import packed
from benchmarks.plan.cells import Task, model_key, named_reason, plain_settings, shortened
from benchmarks.plan.dataset import EmbeddingDataset
from benchmarks.plan.prompts import Prompting, prompted_head
from benchmarks.plan.reading import from_store
from benchmarks.results.read import comparison
from benchmarks.results.selection import supporting
from benchmarks.results.write import library_versions
from benchmarks.run import worker
from benchmarks.run.cell import chosen_text, is_chosen, largest_outcome, rows_of
from benchmarks.run.message import record_of
from benchmarks.run.pool import computed
from benchmarks.scores.metrics import wilson
from featurestore import FeatureStore
from featurestore.errors import FeatureStoreError, InputError
from featurestore.progress import Progress

# Rows that a fitted head must predict before it is accepted; bytes of the largest model.
ASKED, LARGEST_MODEL = 8, 2 * 2**30


@dataclass(frozen=True)
class FittedHead:
    """What came of the fit of a head, or in ``message`` why nothing did.

    Parameters
    ----------
    model
        The classifier in skops' format, see `models.folder`; empty where nobody wants to keep it.
    chosen
        See `cell.chosen_text`.
    proba
        ``(n, n_classes)`` float32 of the rows that it was asked about.
    """

    message: str = ""
    model: bytes = b""
    chosen: str = ""
    proba: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))


@dataclass(frozen=True)
class FitWork:
    """The task of a worker, and whether the classifier is wanted."""

    task: Task
    kept: bool


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
) -> tuple[bytes, dict[str, Any]]:
    """Fit ``head`` on every row that has a label and an embedding; what `models.folder.write` takes: model and card.

    Without a ``label`` it is that of the collection.
    ``on_progress`` is for heads that try many others: it is called with how many were tried, and of how many.

    Raises
    ------
    InputError
        When the view, label or backbone don't fit, rows have several labels, or the head fails.
    """
    dataset = dataset_to_fit(store, backbone, view=view, label=label)
    head = prompted_head(store, head, dataset, prompting or Prompting())
    fitted = fitted_apart(head, dataset, dataset.X[:ASKED], kept=True, seed=seed, on_progress=on_progress)
    parts = [info for info in store.backbones() if info.name in backbone.split("+")]
    card = {
        "head": head.name,
        "about": head.about,
        "settings": plain_settings(head.parameters),
        "chosen": json.loads(fitted.chosen or "{}"),
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
    return fitted.model, card


def dataset_to_fit(store: FeatureStore, backbone: str, *, view: str, label: str | None) -> EmbeddingDataset:
    """Every row of ``view`` that has a label and an embedding; raises `InputError` as `fit` does."""
    dataset = from_store(store, backbone, view=view, label=label)
    if dataset.y.ndim == 2:
        raise InputError(f"{dataset.label} holds several labels a row: fit one that holds one")
    return dataset


def fitted_apart(
    head: HeadSpec,
    dataset: EmbeddingDataset,
    asked: NDArray[np.float32],
    *,
    kept: bool,
    seed: int,
    on_progress: Progress | None = None,
) -> FittedHead:
    """``head`` fitted on ``dataset`` and asked about the rows ``asked`` ``(n, d)``, in a worker process.

    Code of users may do anything to the process that it runs in, so that no object of it leaves that process: the
    classifier, where it is ``kept``, comes as bytes that are read without pickle.

    Raises
    ------
    InputError
        When the head fails.
    """
    with tempfile.TemporaryDirectory(prefix="fit-") as folder:
        matrix, n = Path(folder, "X.npy"), len(dataset.y)
        shape = (n + len(asked), dataset.X.shape[1])
        X = np.lib.format.open_memmap(matrix, "w+", np.float32, shape)  # no copy of both in memory
        X[:n], X[n:] = dataset.X, asked
        X.flush()
        train, test = np.arange(n), np.arange(n, len(X))
        task = Task(head, matrix, dataset.y, dataset.groups, train, test, len(dataset.classes), seed)
        found = computed(
            _fit,
            [FitWork(task, kept)],
            workers=1,
            failed=FittedHead,
            read=_read,
            largest=LARGEST_MODEL + largest_outcome(len(test), task.n_classes),
            time_limit=math.inf,
            one_thread=False,
            folder=Path(folder),
            on_progress=on_progress,
        )
        ((_, fitted),) = found
    if fitted.message:
        raise InputError(f"the head {head.name!r} can't be fitted: {fitted.message}")
    return fitted


def _fit(work: FitWork) -> FittedHead:
    """Why the head of the task can't be fitted, or what came of it."""
    task = work.task
    try:
        classifier: Any = task.head.build(seed=task.seed)
        watched = hasattr(classifier, "on_progress")
        if watched:
            classifier.on_progress = worker.report
        fit_with_groups(classifier, rows_of(task, task.train), task.y, task.groups)
        if watched:
            classifier.on_progress = None
        asked = classifier.predict_proba(rows_of(task, task.test))
        proba = on_all_classes(classifier, asked, n_rows=len(task.test), n_classes=task.n_classes)
        chosen = chosen_text({}, classifier)
        model = packed(classifier) if work.kept else b""
    except MemoryError:  # the worker has a sentence for it
        raise
    except FeatureStoreError as error:
        return FittedHead(shortened(str(error)))
    except BaseException as error:  # a head is anybody's code
        return FittedHead(named_reason(error))
    return FittedHead("", model, chosen, proba.astype(np.float32))


def _read(work: FitWork, content: Any) -> FittedHead:
    """What a worker sent; raises ValueError when it is something else, such as rows that are no probabilities."""
    found = record_of(FittedHead, content)
    if found.message:
        return FittedHead(shortened(found.message))
    if found.proba.shape != (len(work.task.test), work.task.n_classes) or not are_probabilities(found.proba):
        raise ValueError("no probabilities")
    if not is_chosen(found.chosen) or work.kept != bool(found.model):
        raise ValueError("no model")
    return found


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
