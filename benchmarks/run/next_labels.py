"""Which images without a label to label next: a head learns from those that have one, and is asked about the others."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.heads.base import HeadSpec
from benchmarks.plan.prompts import Prompting, prompted_head
from benchmarks.plan.reading import default_label
from benchmarks.plan.unlabelled import without_label
from benchmarks.run.fit import dataset_to_fit, fitted_apart
from benchmarks.scores.acquisition import diverse_batch, uncertainty
from featurestore import FeatureStore
from featurestore.errors import InputError
from featurestore.progress import Progress

COLUMNS = ("ImgId", "predicted", "probability", "uncertainty", "ImgName", "title")


@dataclass(frozen=True)
class Candidate:
    """An image to label: its most probable class, how probable it is, and one minus its lead over the second."""

    img_id: int
    predicted: str
    probability: float
    uncertainty: float


@dataclass(frozen=True)
class NextLabels:
    """``chosen``, most uncertain first, of ``unlabelled`` images, by a head that learned from ``labelled`` ones."""

    chosen: list[Candidate]
    unlabelled: int
    labelled: int
    label: str
    backbone: str
    synthetic: bool


def next_labels(
    store: FeatureStore,
    head: HeadSpec,
    *,
    backbone: str | None = None,
    view: str = "collection",
    label: str | None = None,
    n: int = 50,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> NextLabels:
    """Choose ``n`` images of ``view`` that have no label; see `acquisition.diverse_batch`.

    Parameters
    ----------
    backbone
        Whose embeddings are used; the store's only one when None.
    label
        A column of the view, `reading.default_label` when None.
    seed
        Of the head and of the choice; the same seed gives the same images.

    Raises
    ------
    InputError
        As `run.fit.fitted_apart` and `unlabelled.without_label`; when several backbones are there and none is named.
    """
    backbone = _only_backbone(store) if backbone is None else backbone
    label = default_label(store) if label is None else label
    rows = without_label(store, backbone, view=view, label=label)
    dataset = dataset_to_fit(store, backbone, view=view, label=label)
    head = prompted_head(store, head, dataset, Prompting())
    proba = fitted_apart(head, dataset, rows.X, kept=False, seed=seed, on_progress=on_progress).proba
    places = diverse_batch(proba, rows.X, n, seed=seed)
    unsure = uncertainty(proba)
    chosen = [
        Candidate(
            int(rows.ids[place]),
            dataset.classes[int(np.argmax(proba[place]))],
            float(proba[place].max()),
            float(unsure[place]),
        )
        for place in places.tolist()
    ]
    return NextLabels(chosen, len(rows.ids), len(dataset.y), label, backbone, dataset.synthetic)


def _only_backbone(store: FeatureStore) -> str:
    names = [info.name for info in store.backbones()]
    if len(names) == 1:
        return names[0]
    have = (
        f"has several backbones ({', '.join(names)}): name one with --backbone" if names else "has no backbone: embed"
    )
    raise InputError(f"the store {store.location!r} {have}")


def candidates(found: NextLabels) -> list[dict[str, Any]]:
    """The chosen images as rows for a table: the first four of `COLUMNS`."""
    return [
        dict(zip(COLUMNS, (o.img_id, o.predicted, o.probability, o.uncertainty), strict=False)) for o in found.chosen
    ]
