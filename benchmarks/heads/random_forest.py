"""Random forest."""

from sklearn.ensemble import RandomForestClassifier

from benchmarks.heads.base import Classifier


def make(*, seed: int, trees: int) -> Classifier:
    """Leaves of two rows or more give smoother probabilities."""
    return RandomForestClassifier(trees, min_samples_leaf=2, random_state=seed, n_jobs=1)
