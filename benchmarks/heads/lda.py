"""Linear discriminant analysis with Ledoit-Wolf shrinkage of the covariance."""

from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.heads.base import Classifier


class LeadingComponents(TransformerMixin, BaseEstimator):
    """The first principal components, fewer where rows or columns are fewer (scikit-learn's PCA refuses those)."""

    def __init__(self, components: int = 64) -> None:
        self.components = components

    def fit(self, X: Any, y: Any = None) -> "LeadingComponents":
        """Fit the components."""
        self.pca_ = PCA(min(self.components, *X.shape), svd_solver="full").fit(X)
        return self

    def transform(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, components)``."""
        return self.pca_.transform(X)


def make(*, seed: int, components: int) -> Classifier:
    """Few components: the cost of the covariance grows with the cube of the columns, its errors with them.

    The estimator shrinks towards equal variances. `shrinkage="auto"` would scale every component to variance 1
    first, and so raise the noise of the last ones.
    """
    del seed  # nothing here is random
    return make_pipeline(
        StandardScaler(),
        LeadingComponents(components),
        LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf(store_precision=False)),
    )
