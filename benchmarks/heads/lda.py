"""Linear discriminant analysis with Ledoit-Wolf shrinkage of the covariance."""

from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.heads.base import Classifier


def make(*, seed: int, variance: float) -> Classifier:
    """PCA keeps ``variance`` of the total first: the cost of the covariance grows with the cube of the columns."""
    return make_pipeline(
        StandardScaler(),
        PCA(variance, svd_solver="full", random_state=seed),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    )
