"""Support vector machine with a Gaussian kernel and probabilities calibrated inside the training part."""

from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.heads.base import Classifier
from benchmarks.heads.folds import inner_folds


def make(*, seed: int, C: float) -> Classifier:
    """``gamma`` is one over columns times variance; Platt scaling on inner folds."""
    machine = make_pipeline(StandardScaler(), SVC(C=C, gamma="scale", random_state=seed))
    return CalibratedClassifierCV(machine, method="sigmoid", cv=inner_folds(seed), ensemble=False)
