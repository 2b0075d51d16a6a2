"""Multinomial logistic regression with an L2 penalty: the first thing to try on frozen embeddings."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.heads.base import Classifier


def make(*, seed: int, C: float) -> Classifier:
    """Standardised inputs; with more columns than rows a small ``C`` is what generalises."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=1000, random_state=seed))
