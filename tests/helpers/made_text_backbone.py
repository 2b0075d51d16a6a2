"""A made backbone with a text tower: an image is its mean colour, a text the sum of the colours that it names."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import BackboneSpec, TextScale
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.backbones.records import BackboneRecord, LoadOptions

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
# Words that the text tower reads.
LONGEST = 12


@dataclass
class ColourBackbone:
    """Mean red, green and blue, less a little of grey; ``weights`` differ by revision."""

    name: str = "colour"
    weights: str = "colour-1"
    text_scale: TextScale = field(default_factory=lambda: TextScale(10.0))
    asked: list[str] = field(default_factory=list)

    @property
    def spec(self) -> BackboneSpec:
        """The record of this backbone."""
        return BackboneSpec(
            self.name,
            3,
            Preprocessing(8, 8),
            self.weights,
            synthetic=True,
            libraries={"transformers": "0", "numpy": np.__version__},
        )

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(n, 8, 8, 3)`` → ``(n, 3)``."""
        return (images.mean(axis=(1, 2)) + 0.01).astype(np.float32)

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``(n, 3)`` float32; a text without a colour is grey."""
        self.asked += texts
        for text in texts:
            if len(text.split()) > LONGEST:
                warnings.warn(
                    f"the text {text[:20]!r} is longer than {LONGEST} words: the rest is left out", stacklevel=2
                )
        words = [text.lower().replace(",", " ").split()[:LONGEST] for text in texts]
        colours = [[COLOURS[word] for word in some if word in COLOURS] for some in words]
        return np.array([np.sum(some, axis=0) if some else (1, 1, 1) for some in colours], np.float32)


# What `load` gives; a test may put another here.
LOADED = ColourBackbone()


def load(record: BackboneRecord, options: LoadOptions) -> ColourBackbone:
    """The loader of a record with the name `colour`."""
    del record, options
    return LOADED
