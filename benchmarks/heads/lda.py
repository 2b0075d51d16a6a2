"""Linear discriminant analysis with Ledoit-Wolf shrinkage of the covariance."""

from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from benchmarks.heads.base import Classifier
from benchmarks.heads.scaling import PrincipalCoordinates


def build_lda(*, seed: int, components: int) -> Classifier:
    """Few components: the cost of the covariance grows with the cube of the columns, its errors with them.

    The estimator shrinks towards equal variances. `shrinkage="auto"` would scale every component to variance 1
    first, and so raise the noise of the last ones.
    """
    del seed  # nothing here is random
    return make_pipeline(
        PrincipalCoordinates("standard", components),
        LinearDiscriminantAnalysis(solver="lsqr", covariance_estimator=LedoitWolf(store_precision=False)),
    )
