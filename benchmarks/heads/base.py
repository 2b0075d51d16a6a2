"""What a head is: a record with a factory of a scikit-learn classifier; it owns no data."""

import hashlib
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from featurestore._optional import import_extra


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
    random
        Whether the seed changes the fitted model.
    """

    name: str
    about: str
    factory: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    random: bool = False

    @property
    def code_hash(self) -> str:
        """16 hex digits of the factory's file: a changed head is another head."""
        return _file_hash(self.factory.partition(":")[0])

    def build(self, *, seed: int) -> Classifier:
        """A new classifier; the same seed gives the same fitted model.

        Raises
        ------
        MissingExtra
            When a library that the head needs is not installed.
        """
        module, _, function = self.factory.partition(":")
        make: Callable[..., Classifier] = getattr(
            import_extra(module, "bench", needed_by=f"the head {self.name!r}"), function
        )
        return make(seed=seed, **self.parameters)


@lru_cache
def _file_hash(module: str) -> str:
    """Of the file of ``module``, which is not imported; empty for one without a file."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        return ""
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:16]
