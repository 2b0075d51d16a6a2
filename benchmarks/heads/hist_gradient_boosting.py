"""Histogram gradient boosting of scikit-learn."""

from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.heads.base import Classifier


def make(*, seed: int, rounds: int) -> Classifier:
    """No early stopping: it would need rows that the other heads learn from."""
    return HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=0.1,
        max_leaf_nodes=15,
        max_bins=63,
        max_features=0.1,
        early_stopping=False,
        random_state=seed,
    )
