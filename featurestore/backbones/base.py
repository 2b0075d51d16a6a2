"""Defines a backbone: a record of its identity and one method. It reads and writes neither stores nor images."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.preprocessing import Preprocessing

__all__ = ["Backbone", "BackboneSpec", "Preprocessing", "TextBackbone", "TextScale"]


@dataclass(frozen=True)
class BackboneSpec:
    """The record of a loaded backbone: everything that distinguishes its embeddings from those of another.

    Parameters
    ----------
    name
        The name in the store, a lower-case SQL identifier: ``inception_v3``.
    embed_dim
        Length of an embedding.
    preprocessing
        See `Preprocessing`.
    weights
        Identifies the weights: ``sha256:…`` of their bytes, or a published version for code without weights
        (``descriptors-1``).
    source
        Where the weights came from, for display: a hub handle or a file name. Not part of the revision.
    options
        Other settings that change the vectors, such as the tensor that is read.
    synthetic
        True when the weights are random or made up; every result is then marked as synthetic.
    licence
        SPDX name of the weights' licence, empty when unknown.
    libraries
        Name and version of each library that computes the vectors. Lineage only, not part of the revision.
    precision
        The number type of the computation, as a NumPy dtype name. Lineage only, not part of the revision: one that
        changes vectors more than rounding does, such as ``bf16``, is also in ``options``.
    device
        What computes: ``cpu``, or a name such as ``cuda``. Lineage only, not part of the revision.
    pass_size
        Number of images that each forward pass takes. 1: each image is computed by itself, whatever its batch. 0: the
        caller's choice; short batches are then padded. Not part of the revision.
    notes
        Sentences that the user must read, such as what was assumed. For display, not part of the revision.
    """

    name: str
    embed_dim: int
    preprocessing: Preprocessing
    weights: str
    source: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    synthetic: bool = False
    licence: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)
    precision: str = "float32"
    device: str = "cpu"
    pass_size: int = 0
    notes: tuple[str, ...] = ()

    @property
    def revision(self) -> str:
        """16 hex digits that change when, and only when, the vectors may change."""
        identity = {
            "embed_dim": self.embed_dim,
            "preprocessing": self.preprocessing.identity(),
            "weights": self.weights,
            "options": dict(self.options),
        }
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@runtime_checkable
class Backbone(Protocol):
    """A frozen function from image to vector. ``FeatureStore.embed`` accepts any object with these two members."""

    @property
    def spec(self) -> BackboneSpec:
        """The record of this backbone."""
        ...

    def embed(self, images: Any) -> NDArray[np.float32]:
        """Embed preprocessed ``images``, as `Preprocessing.apply` returns them, into ``(n, embed_dim)`` float32."""
        ...


@dataclass(frozen=True)
class TextScale:
    """How a checkpoint turns the cosine of an image and a text into a logit: ``scale * cosine + bias``."""

    scale: float
    bias: float = 0.0


@runtime_checkable
class TextBackbone(Backbone, Protocol):
    """A backbone with a text tower, whose vectors can be compared with those of images."""

    @property
    def text_scale(self) -> TextScale:
        """The checkpoint's own temperature."""
        ...

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed ``texts`` into ``(n, embed_dim)`` float32, each by itself; too long ones are cut off with a warning."""
        ...
