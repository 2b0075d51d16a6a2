"""What `zero_shot` is given for each data set: vectors of the class names, by the text tower of the backbone."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.heads.base import HeadSpec
from benchmarks.plan.dataset import EmbeddingDataset
from featurestore import Backbone, FeatureStore, TextBackbone, backbone_of, embed_texts, load_backbone
from featurestore.errors import FeatureStoreError, InputError
from featurestore.files import MEGABYTE, read_file, why

TEMPLATES = ("{}", "a photo of {}", "an image of {}")
PLACE = "{}"
MOST_TEMPLATES = 1_000
# Of the libraries that compute vectors, those whose models may have a text tower: when no head is named, no other
# model is loaded only to see that it has none.
WITH_TEXT = frozenset({"transformers"})


@dataclass(frozen=True)
class Prompting:
    """How classes become texts.

    Parameters
    ----------
    templates
        Texts with ``{}`` for the name of the class; the vectors of a class are averaged over them.
    models
        By name in the store, a loaded backbone or a reference, where the store's own can't be found.
    """

    templates: tuple[str, ...] = TEMPLATES
    models: Mapping[str, Backbone | str] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompted:
    """The settings that a head with ``needs_text`` gets for a data set, or in ``failure`` why it can't run there."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""

    def head(self, spec: HeadSpec) -> HeadSpec:
        """``spec`` with the settings."""
        return replace(spec, parameters={**spec.parameters, **self.settings}, arrays=self.arrays)


def templates_of(templates: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    """Templates as given, or those of a text file, one a line; the default ones when None.

    Raises
    ------
    InputError
        When the file can't be read, or there is no template, too many, or one without ``{}``.
    """
    if templates is None:
        return TEMPLATES
    where = ""
    if isinstance(templates, str | Path):
        where = f" in {str(templates)!r}"
        try:
            text = read_file(Path(templates), limit=MEGABYTE, pipes=True).decode()
        except (OSError, ValueError) as error:
            raise InputError(f"no templates can be read from {str(templates)!r}: {why(error)}") from error
        found = tuple(line.strip() for line in text.splitlines() if line.strip())
    else:
        found = tuple(templates)
    if not 0 < len(found) <= MOST_TEMPLATES:
        raise InputError(f"got {len(found):,} templates{where}, expected 1 to {MOST_TEMPLATES:,}")
    for template in found:
        if not isinstance(template, str) or PLACE not in template:
            raise InputError(f"got the template {template!r}{where}, expected {PLACE} where the class is named")
    return found


def prompts(classes: Sequence[str], template: str) -> list[str]:
    """A text for each class."""
    return [template.replace(PLACE, name.replace("_", " ").strip()) for name in classes]


def prompted(
    store: FeatureStore, datasets: Sequence[EmbeddingDataset], prompting: Prompting, *, named: bool
) -> dict[str, Prompted]:
    """For each backbone what its heads get; where no head is ``named``, only those that a head can run over."""
    libraries = {} if named else {info.name: set(info.libraries) for info in store.backbones()}
    found = {}
    for dataset in datasets:
        name = dataset.backbone
        if named or name in prompting.models or libraries.get(name, set()) & WITH_TEXT:
            one = _prompted(store, dataset, prompting)
            if named or not one.failure:
                found[name] = one
    return found


def prompted_head(store: FeatureStore, head: HeadSpec, dataset: EmbeddingDataset, prompting: Prompting) -> HeadSpec:
    """``head`` as it runs over ``dataset``.

    Raises
    ------
    InputError
        When it needs a text tower that the backbone does not have.
    """
    if not head.needs_text:
        return head
    found = _prompted(store, dataset, prompting)
    if found.failure:
        raise InputError(found.failure)
    return found.head(head)


def _prompted(store: FeatureStore, dataset: EmbeddingDataset, prompting: Prompting) -> Prompted:
    if dataset.task != "multiclass":
        return Prompted(failure=f"zero_shot chooses one class an image, and {dataset.label} holds several labels")
    if "+" in dataset.backbone:
        return Prompted(failure="zero_shot needs one backbone with a text tower, not several side by side")
    try:
        loaded = _loaded(store, dataset, prompting.models.get(dataset.backbone))
        if loaded.spec.embed_dim != dataset.X.shape[1]:
            dims = f"{loaded.spec.embed_dim} values, those of {dataset.backbone} {dataset.X.shape[1]}"
            raise InputError(f"the vectors of the model have {dims}: give the model that computed them")
        vectors = np.zeros((len(dataset.classes), loaded.spec.embed_dim))
        for template in prompting.templates:
            found = embed_texts(loaded, prompts(dataset.classes, template)).astype(np.float64)
            vectors += found / np.linalg.norm(found, axis=1, keepdims=True)
    except FeatureStoreError as error:
        return Prompted(failure=str(error))
    assert isinstance(loaded, TextBackbone)  # `embed_texts` refuses others
    rounded = vectors.astype(np.float32)
    settings = {
        "templates": list(prompting.templates),
        "scale": float(loaded.text_scale.scale),
        "texts": hashlib.sha256(rounded.tobytes()).hexdigest()[:16],
    }
    return Prompted(settings, {"vectors": rounded})


def _loaded(store: FeatureStore, dataset: EmbeddingDataset, model: Backbone | str | None) -> Backbone:
    """The backbone of ``dataset``; that of arrays, which have no revision, only where it is given."""
    if dataset.revision:
        return backbone_of(store, dataset.backbone, model=model)
    if model is None:
        raise InputError(f"the arrays {dataset.backbone} have no text tower: give their model with models=")
    return load_backbone(model) if isinstance(model, str) else model
