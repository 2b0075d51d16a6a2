"""The floor: what knowing only the class rates is worth."""

from sklearn.dummy import DummyClassifier

from benchmarks.heads.base import Classifier


def make(*, seed: int) -> Classifier:
    """Predicts the most frequent class; its probabilities are the class rates of the training part."""
    del seed  # nothing here is random
    return DummyClassifier(strategy="prior")
