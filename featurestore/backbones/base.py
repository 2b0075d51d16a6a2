"""Defines a backbone: a record of its identity and one method. It reads and writes neither stores nor images."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Scale = Literal["unit", "signed", "byte"]


@dataclass(frozen=True)
class Preprocessing:
    """How a decoded RGB image becomes a model's input; it is part of the revision of an embedding.

    Parameters
    ----------
    height, width
        Size in pixels after a bilinear, antialiased resize that does not keep the aspect ratio.
    scale
        ``unit``: float32 in [0, 1]; ``signed``: float32 in [-1, 1]; ``byte``: uint8 in 0 … 255.
    color
        Channel order, ``RGB`` or ``BGR``.
    """

    height: int = 224
    width: int = 224
    scale: Scale = "unit"
    color: Literal["RGB", "BGR"] = "RGB"

    def apply(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        """Scale and reorder ``images``, ``(n, height, width, 3)`` uint8 RGB, which must have been resized before.

        Returns ``(n, height, width, 3)``, float32 for ``unit`` and ``signed``, uint8 for ``byte``.
        """
        if self.color == "BGR":
            images = images[..., ::-1]
        if self.scale == "byte":
            return np.ascontiguousarray(images)
        scaled = images.astype(np.float32)
        if self.scale == "unit":
            scaled /= 255.0
        else:
            scaled /= 127.5
            scaled -= 1.0
        return scaled


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
        The number type of the computation, as a NumPy dtype name. Lineage only, not part of the revision.
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

    @property
    def revision(self) -> str:
        """16 hex digits that change when, and only when, the vectors may change."""
        identity = {
            "embed_dim": self.embed_dim,
            "preprocessing": asdict(self.preprocessing),
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

    def embed(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Embed preprocessed ``images`` ``(n, height, width, 3)`` into ``(n, embed_dim)`` float32."""
        ...
