"""The inner folds on which heads calibrate themselves; always inside the training part."""

from sklearn.model_selection import StratifiedKFold


def inner_folds(seed: int) -> StratifiedKFold:
    """Three stratified folds: few enough for small classes."""
    return StratifiedKFold(3, shuffle=True, random_state=seed)
