"""Histogram gradient boosting of scikit-learn."""

from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.heads.base import Classifier
from benchmarks.heads.input_check import refusing_nan


def build_hist_gradient_boosting(*, seed: int, rounds: int) -> Classifier:
    """Small trees, slowly: on a few hundred rows larger ones are sure and wrong (log loss above the class rates').

    No early stopping: it would need rows that the other heads learn from.
    """
    model = HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=0.05,
        max_leaf_nodes=7,
        max_bins=63,
        max_features=0.1,
        early_stopping=False,
        random_state=seed,
    )
    return refusing_nan(model)
