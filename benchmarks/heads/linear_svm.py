"""Linear support vector machine, one against the rest, with probabilities calibrated inside the training part."""

from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from benchmarks.heads.base import Classifier
from benchmarks.heads.folds import inner_folds


def make(*, seed: int, C: float) -> Classifier:
    """Platt scaling on inner folds; the machine itself is then fitted on the whole training part."""
    machine = make_pipeline(StandardScaler(), LinearSVC(C=C, dual=True, max_iter=5000, random_state=seed))
    return CalibratedClassifierCV(machine, method="sigmoid", cv=inner_folds(seed), ensemble=False)
