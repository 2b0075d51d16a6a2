"""Linear support vector machine."""

from collections.abc import Sequence

from benchmarks.heads.base import Classifier
from benchmarks.heads.kernel_svm import KernelSVM


def build_linear_svm(*, seed: int, Cs: Sequence[float]) -> Classifier:
    """Hinge loss, one class against one."""
    return KernelSVM(kernel="linear", Cs=tuple(Cs), random_state=seed)
