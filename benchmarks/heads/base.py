"""What a head is: a record with a factory of a scikit-learn classifier; it owns no data."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class Classifier(Protocol):
    """The part of a scikit-learn classifier that the bench uses."""

    classes_: Any

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from ``X`` ``(n, d)`` float32 and ``y`` ``(n,)`` int64."""
        ...

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        ...


@dataclass(frozen=True)
class HeadSpec:
    """A head by name.

    Parameters
    ----------
    name
        What people type.
    about
        One line: the model and its settings.
    factory
        ``module:function``, imported when the head is used; called with ``seed=`` and ``**parameters``, it returns a
        new unfitted classifier that runs on one thread. Scaling and reduction are part of it, so that they are
        fitted inside the training part.
    parameters
        Settings given to the factory; part of the identity of a result.
    """

    name: str
    about: str
    factory: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def build(self, *, seed: int) -> Classifier:
        """A new classifier; the same seed gives the same fitted model."""
        module, _, function = self.factory.partition(":")
        make: Callable[..., Classifier] = getattr(importlib.import_module(module), function)
        return make(seed=seed, **self.parameters)
