"""The baseline: always the most frequent class, with the class rates as probabilities."""

from sklearn.dummy import DummyClassifier

from benchmarks.heads.base import Classifier
from benchmarks.heads.input_check import refusing_nan


def build_majority(*, seed: int) -> Classifier:
    """Predicts the most frequent class; its probabilities are the class rates of the training part."""
    del seed  # nothing here is random
    return refusing_nan(DummyClassifier(strategy="prior"))
