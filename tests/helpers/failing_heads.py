"""Heads that fail, for the tests of the runner."""

import numpy as np


class Crashing:
    """A head that fails, by name of the reason; ``meet``: when ``value`` is in the first column."""

    def __init__(self, how: str, value: float) -> None:
        self.how = how
        self.value = value

    def fit(self, X, y):  # type: ignore[no-untyped-def]
        if self.how == "raise" or (self.how == "meet" and np.isin(np.float32(self.value), X[:, 0])):
            raise RuntimeError("out of luck\nsecond line")
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):  # type: ignore[no-untyped-def]
        return np.full((len(X), len(self.classes_)), np.nan if self.how == "nan" else 1 / len(self.classes_))


def make(*, seed: int, how: str, value: float = 0.0) -> Crashing:
    return Crashing(how, value)
