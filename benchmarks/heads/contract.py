"""What every head must do, built in or of the user: checks that the tests and `benchmarks heads --check` run."""

import re
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads.base import HeadSpec
from featurestore.errors import reason

Check = Callable[[HeadSpec], None]


def example(
    n: int = 90, d: int = 120, *, classes: int = 3, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Separable classes on more columns than rows, as embeddings of small collections are."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = rng.normal(size=(n, d)).astype(np.float32)
    X[np.arange(n), y] += 3
    return X, y.astype(np.int64)


def _require(holds: Any, sentence: str) -> None:
    if not holds:
        raise AssertionError(sentence)


def check_name(spec: HeadSpec) -> None:
    """A name that can be typed, and one line about it."""
    _require(re.fullmatch(r"[a-z][a-z0-9_]*", spec.name), f"the name {spec.name!r} is not lower case with underscores")
    _require(spec.about and "\n" not in spec.about, "`about` is not one line")


def check_probabilities(spec: HeadSpec) -> None:
    """Rows of probabilities, over the classes in ascending order; the input stays as it was."""
    X, y = example()
    before = X.copy()
    model = spec.build(seed=0)
    model.fit(X[:60], y[:60])
    proba = np.asarray(model.predict_proba(X[60:]))
    _require(proba.shape == (30, 3), f"predict_proba of 30 rows and 3 classes has the shape {proba.shape}")
    _require(proba.min() >= 0 and np.allclose(proba.sum(axis=1), 1, atol=1e-4), "the rows are no probabilities")
    _require(np.array_equal(model.classes_, [0, 1, 2]), f"classes_ is {model.classes_}, expected [0 1 2]")
    _require(np.array_equal(X, before), "fit or predict_proba changed its input")


def check_seed(spec: HeadSpec) -> None:
    """The same seed gives the same model."""
    X, y = example()
    first, second = (np.asarray(spec.build(seed=3).fit(X, y).predict_proba(X)) for _ in range(2))
    _require(np.array_equal(first, second), "two fits with one seed differ: give `seed` to all that is random")


def check_labels(spec: HeadSpec) -> None:
    """Two classes, and codes with a gap."""
    X, y = example(classes=2)
    model = spec.build(seed=0).fit(X, y * 2)
    _require(np.array_equal(model.classes_, [0, 2]), f"classes_ is {model.classes_}, expected [0 2]")
    shape = np.asarray(model.predict_proba(X)).shape
    _require(shape == (90, 2), f"predict_proba of 90 rows and 2 classes has the shape {shape}")


def check_nan(spec: HeadSpec) -> None:
    """NaN is refused, by fit and by predict_proba."""
    X, y = example()
    broken = X.copy()
    broken[3, 5] = np.nan
    model = spec.build(seed=0)
    for what, attempt in (
        ("fit", lambda: spec.build(seed=0).fit(broken, y)),
        ("predict_proba", lambda: model.fit(X, y).predict_proba(broken)),
    ):
        try:
            attempt()
        except ValueError:
            continue
        raise AssertionError(f"{what} accepts NaN: raise a ValueError instead")


def check_rows_alone(spec: HeadSpec) -> None:
    """A row's prediction does not depend on the rows that are predicted with it: else test rows would teach."""
    X, y = example()
    model = spec.build(seed=0).fit(X[:60], y[:60])
    together = np.asarray(model.predict_proba(X[60:]))
    alone = np.vstack([np.asarray(model.predict_proba(X[row : row + 1])) for row in range(60, 66)])
    _require(np.allclose(together[:6], alone, atol=1e-5), "a row's prediction changes with the rows beside it")


CHECKS: dict[str, Check] = {
    function.__name__.removeprefix("check_"): function
    for function in (check_name, check_probabilities, check_seed, check_labels, check_nan, check_rows_alone)
}


def violations(spec: HeadSpec) -> dict[str, str]:
    """What ``spec`` does wrong, by name of the check; empty for a good head.

    One that needs vectors of the class names gets the axes on which `example` separates its classes.
    """
    if spec.needs_text and not spec.arrays:
        spec = replace(spec, arrays={"vectors": np.eye(3, 120, dtype=np.float32)})
    found = {}
    for name, check in CHECKS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                check(spec)
            except BaseException as error:  # a head is anybody's code, in a process of its own
                said = reason(error)
                found[name] = said if isinstance(error, AssertionError) else f"{type(error).__name__}: {said}"
    return found
