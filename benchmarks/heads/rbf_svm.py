"""Support vector machine with a Gaussian kernel."""

from collections.abc import Sequence

from benchmarks.heads.base import Classifier
from benchmarks.heads.kernel_svm import KernelSVM


def build_rbf_svm(*, seed: int, Cs: Sequence[float]) -> Classifier:
    """The kernel's width is that of scikit-learn's ``gamma="scale"``."""
    return KernelSVM(kernel="rbf", Cs=tuple(Cs), random_state=seed)
