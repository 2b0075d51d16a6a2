"""Random forest."""

from sklearn.ensemble import RandomForestClassifier

from benchmarks.heads.base import Classifier
from benchmarks.heads.input_check import refusing_nan


def build_random_forest(*, seed: int, trees: int, leaf: int) -> Classifier:
    """Leaves of five rows or more give smoother probabilities, and smaller trees."""
    return refusing_nan(RandomForestClassifier(trees, min_samples_leaf=leaf, random_state=seed, n_jobs=1))
