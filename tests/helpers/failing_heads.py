"""Heads that fail, and a task that tells its process, for the tests of the runner."""

import os

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


class _Simple:
    """A nearest-mean classifier to break in one way each."""

    def fit(self, X, y):  # type: ignore[no-untyped-def]
        if np.isnan(X).any():
            raise ValueError("Input contains NaN")
        self.classes_ = np.unique(y)
        self.means = np.stack([X[y == code].mean(axis=0) for code in self.classes_])
        return self

    def predict_proba(self, X):  # type: ignore[no-untyped-def]
        if np.isnan(X).any():
            raise ValueError("Input contains NaN")
        distances = ((X[:, None] - self.means) ** 2).sum(axis=2)
        raised = np.exp(-(distances - distances.min(axis=1, keepdims=True)) / 10)
        return raised / raised.sum(axis=1, keepdims=True)


class _BatchScaler(_Simple):
    def predict_proba(self, X):  # type: ignore[no-untyped-def]
        return super().predict_proba((X - X.mean(axis=0)) * 2)


class _ChangesInput(_Simple):
    def fit(self, X, y):  # type: ignore[no-untyped-def]
        X -= X.mean(axis=0)
        return super().fit(X, y)


class _Unseeded(_Simple):
    def fit(self, X, y):  # type: ignore[no-untyped-def]
        super().fit(X, y)
        self.means = self.means + np.random.default_rng().normal(size=self.means.shape)
        return self


class _WantsTestRows(_Simple):
    def fit(self, X, y, eval_set):  # type: ignore[no-untyped-def]
        return super().fit(X, y)


class _TakesNaN(_Simple):
    def fit(self, X, y):  # type: ignore[no-untyped-def]
        return super().fit(np.nan_to_num(X), y)

    def predict_proba(self, X):  # type: ignore[no-untyped-def]
        return super().predict_proba(np.nan_to_num(X))


def batch_scaler(*, seed: int) -> _Simple:
    return _BatchScaler()


def changes_input(*, seed: int) -> _Simple:
    return _ChangesInput()


def unseeded(*, seed: int) -> _Simple:
    return _Unseeded()


def wants_test_rows(*, seed: int) -> _Simple:
    return _WantsTestRows()


def takes_nan(*, seed: int) -> _Simple:
    return _TakesNaN()


class _Misbehaving(_Simple):
    def __init__(self, how: str) -> None:
        self.how = how

    def fit(self, X, y):  # type: ignore[no-untyped-def]
        if self.how == "die":
            import signal

            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "hang":
            import time

            time.sleep(600)
        if self.how == "eat":
            self.eaten = np.ones(2 * 2**30 // 8)
        return super().fit(X, y)


def misbehaving(*, seed: int, how: str) -> _Simple:
    return _Misbehaving(how)


class _Peeping(_Simple):
    """Looks up the shuffled label of each test row by its vector, as a leak would."""

    def __init__(self, path: str) -> None:
        self.path = path

    def predict_proba(self, X):  # type: ignore[no-untyped-def]
        import featurestore
        from benchmarks.plan.dataset import shuffled
        from benchmarks.plan.reading import from_store

        data = shuffled(from_store(featurestore.open(self.path), "counting"), seed=0)
        nearest = ((X[:, None] - data.X) ** 2).sum(axis=2).argmin(axis=1)
        return np.eye(len(data.classes))[data.y[nearest]][:, self.classes_]


def peeping(*, seed: int, path: str) -> _Simple:
    return _Peeping(path)


_loaded: list[bool] = []


class _SlowToLoad(_Simple):
    """Its first fit in a process takes seconds, as where a library loads the rest of itself."""

    def fit(self, X, y):  # type: ignore[no-untyped-def]
        if not _loaded:
            import time

            time.sleep(20)
            _loaded.append(True)
        return super().fit(X, y)


def slow_to_load(*, seed: int) -> _Simple:
    return _SlowToLoad()


def process_of(task: int) -> int:
    """The number of the process that runs the task."""
    return os.getpid()
