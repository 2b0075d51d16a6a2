"""Random forest."""

from sklearn.ensemble import RandomForestClassifier

from benchmarks.heads.base import Classifier
from benchmarks.heads.finite import only_finite


def make(*, seed: int, trees: int, leaf: int) -> Classifier:
    """Leaves of five rows or more give smoother probabilities, and smaller trees."""
    return only_finite(RandomForestClassifier(trees, min_samples_leaf=leaf, random_state=seed, n_jobs=1))
