"""A classifier that learns nothing: the class whose name is nearest to the image, by the backbone's text tower."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_array, check_is_fitted

from benchmarks.heads.base import Classifier
from featurestore.errors import InputError


class ZeroShot(ClassifierMixin, BaseEstimator):
    """Softmax over the cosines of an image with the classes, times the checkpoint's own scale.

    A checkpoint's bias is the same for each class and has no influence.

    Parameters
    ----------
    vectors
        ``(n_classes, d)``: row ``c`` belongs to the class with the code ``c``.
    scale
        The inverse of the checkpoint's temperature.
    """

    def __init__(self, vectors: Any, scale: float = 1.0) -> None:
        self.vectors = vectors
        self.scale = scale

    def fit(self, X: Any, y: Any) -> "ZeroShot":
        """Note which classes ``y`` has; only these are predicted, as by every head.

        Raises
        ------
        ValueError
            When ``X`` ``(n, d)`` holds NaN or infinity, or has another width than the text vectors.
        """
        self._unit(X)
        self.classes_ = np.unique(y)
        self.texts_ = self._unit(np.asarray(self.vectors)[self.classes_])
        return self

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, len(classes_))`` float64."""
        check_is_fitted(self)
        logits = self.scale * (self._unit(X) @ self.texts_.T)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def _unit(self, X: Any) -> Any:
        rows = check_array(X, dtype=np.float64)
        if rows.shape[1] != np.shape(self.vectors)[1]:
            raise ValueError(f"got rows of {rows.shape[1]} values, the text vectors have {np.shape(self.vectors)[1]}")
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)


def build_zero_shot(
    *, seed: int, templates: Sequence[str] = (), scale: float = 1.0, texts: str = "", vectors: Any = None
) -> Classifier:
    """The classifier of these ``vectors``; ``templates`` and ``texts``, the hash of the vectors, only identify it."""
    del seed, templates, texts
    if vectors is None:
        raise InputError("zero_shot needs the vectors of the class names: `benchmarks run` and `fit` compute them")
    return ZeroShot(vectors, scale)
