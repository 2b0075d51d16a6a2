"""The floor: what knowing only the class rates is worth."""

from sklearn.dummy import DummyClassifier

from benchmarks.heads.base import Classifier
from benchmarks.heads.finite import only_finite


def make(*, seed: int) -> Classifier:
    """Predicts the most frequent class; its probabilities are the class rates of the training part."""
    del seed  # nothing here is random
    return only_finite(DummyClassifier(strategy="prior"))
