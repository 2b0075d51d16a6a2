"""Embeds texts with a backbone that has a text tower, and checks the result; it knows no store and no model file."""

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from featurestore.backbones.base import Backbone, TextBackbone
from featurestore.backbones.custom import checked
from featurestore.errors import BackboneError, FeatureStoreError, InputError

# Characters of a text. Text towers read 64 or 77 tokens, so that a longer text is a mistake, such as a whole file.
LONGEST_TEXT = 10_000


def has_text_tower(backbone: Backbone) -> TypeGuard[TextBackbone]:
    """Whether ``backbone`` embeds texts too."""
    return isinstance(backbone, TextBackbone)


def embed_texts(backbone: Backbone, texts: Sequence[str]) -> NDArray[np.float32]:
    """The vectors ``(n, embed_dim)`` float32 of ``texts``, to be compared with those of images by cosine.

    A text that the text tower can't read to its end is cut off, with a warning.

    Raises
    ------
    InputError
        When the backbone has no text tower, a text is blank or longer than `LONGEST_TEXT` characters, or its vector
        holds NaN or infinity or is zero.
    BackboneError
        When the text tower raises or returns the wrong shape.
    """
    spec = backbone.spec
    if not has_text_tower(backbone):
        raise InputError(
            f"the backbone {spec.name!r} has no text tower, so that texts can't be compared with its images: use one "
            "that has, such as CLIP or SigLIP by hf:DIR_OR_NAME"
        )
    _refuse_unusable(texts)
    if not texts:
        return np.empty((0, spec.embed_dim), np.float32)
    try:
        found = backbone.embed_text(list(texts))
    except FeatureStoreError:
        raise
    except Exception as error:  # a user's backbone may raise anything
        raise BackboneError(f"the text tower of {spec.name!r} failed with {type(error).__name__}: {error}") from error
    vectors = checked(found, spec, len(texts))
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(bad):
        raise InputError(
            f"the vector of the text {texts[bad[0]]!r} is zero, NaN or infinite: use another text or backbone"
        )
    return vectors


def _refuse_unusable(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise InputError("got one text, expected a list of texts")
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"got {text!r} as a text, expected words such as 'a red car at night'")
        if len(text) > LONGEST_TEXT:
            raise InputError(f"got a text of {len(text):,} characters, expected at most {LONGEST_TEXT:,}: shorten it")
