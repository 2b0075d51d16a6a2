"""What a head is: a record with a factory of a scikit-learn classifier; it owns no data."""

import ast
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from featurestore._optional import import_extra, run_source
from featurestore.errors import InputError, reason
from featurestore.files import MEGABYTE, read_file

# Bytes of a file of heads.
LARGEST_FILE = 16 * MEGABYTE


class Classifier(Protocol):
    """The part of a scikit-learn classifier that the bench uses."""

    classes_: Any

    def fit(self, X: Any, y: Any) -> Any:
        """Learn from ``X`` ``(n, d)`` float32 and ``y`` ``(n,)`` int64.

        One that splits these rows has a third argument, ``groups=None`` ``(n,)``: rows of one group are copies of an
        image, which must stay together. `benchmarks.heads.groups.fit_with_groups` gives it to those that have it.
        """
        ...

    def predict_proba(self, X: Any) -> Any:
        """``(n, d)`` → ``(n, n_classes)``, columns in the order of ``classes_``."""
        ...


@dataclass(frozen=True)
class Shown:
    """Stands for a setting, or for the values to try, of a head's file, whose code runs in workers only: its text."""

    text: str

    def __repr__(self) -> str:
        """The text of the setting itself."""
        return self.text


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
        ``module:function`` or ``file.py:function``, imported when the head is used; called with ``seed=`` and
        ``**parameters``, it returns a new unfitted classifier that runs on one thread. Scaling and reduction are part
        of it, so that they are fitted inside the training part.
    parameters
        Settings given to the factory; part of the identity of a result.
    random
        Whether the seed changes the fitted model.
    search
        Settings that the protocol ``nested`` tries, each with its values; every combination is a candidate. `Shown` in
        place of the values: see `resolved`.
    path
        That setting of ``search`` of which one fit of the largest value yields all: the factory's module has a
        ``predict_path(model, X, values)`` which returns the probabilities for each.
    members
        Heads whose results, of the same rows, this one is made of instead of a fit of its own.
    rule
        How: ``mean`` of the probabilities, or ``best``, the member with the best score on inner folds.
    sets
        Where it runs when no head is named: names of protocols.
    needs_text
        Whether the factory takes vectors of the class names, by the text tower of the backbone: see `plan.prompts`.
    arrays
        What the factory gets besides ``parameters``, which hold its hash: no part of the identity.
    """

    name: str
    about: str
    factory: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    random: bool = False
    search: Mapping[str, Any] = field(default_factory=dict)
    path: str | None = None
    members: tuple[str, ...] = ()
    rule: str = "mean"
    sets: tuple[str, ...] = ("cv", "study", "given", "nested", "learning-curve", "across")
    needs_text: bool = False
    arrays: Mapping[str, Any] = field(default_factory=dict)

    @property
    def code_hash(self) -> str:
        """16 hex digits of the factory's file and of the head modules that it imports: a changed head is another."""
        return _code_hash(self.factory.rpartition(":")[0])

    @property
    def is_built_in(self) -> bool:
        """Whether its code is of this package; that of any other head runs in a process that runs nothing else."""
        module = self.factory.rpartition(":")[0]
        return module.startswith(f"{__package__}.") and not module.endswith(".py")

    def build(self, *, seed: int, **changed: Any) -> Classifier:
        """A new classifier; the same seed gives the same fitted model.

        Parameters
        ----------
        changed
            Settings that replace those of ``parameters``.

        Raises
        ------
        MissingExtra
            When a library that the head needs is not installed.
        InputError
            When the factory of an own head can't be loaded, or gives no classifier.
        """
        # The factory has what is shown as its own default.
        known = {name: value for name, value in self.parameters.items() if not isinstance(value, Shown)}
        model = self.function()(seed=seed, **{**known, **self.arrays, **changed})
        # Calibration would put a classifier of its own in the place of None.
        if isinstance(model, type) or not hasattr(model, "fit"):
            given = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
            raise InputError(f"the factory of the head {self.name!r} gave {given}, expected a scikit-learn classifier")
        return with_probabilities(model, seed=seed)

    def resolved(self) -> "HeadSpec":
        """This head with the values of its file, which is run, in place of those of `search` that are `Shown`."""
        if not any(isinstance(value, Shown) for value in self.search.values()):
            return self
        where, _, made = self.factory.rpartition(":")
        return replace(self, search=getattr(load_file(Path(where)), made).spec.search)

    def function(self, name: str | None = None) -> Callable[..., Any]:
        """The factory, or another function of its module."""
        where, _, made = self.factory.rpartition(":")
        module = load_file(Path(where)) if where.endswith(".py") else self._module(where)
        found = getattr(module, name or made, None)
        if not callable(found):
            raise InputError(f"the head {self.name!r} is made by {name or made!r}, which {where!r} does not have")
        return getattr(found, "__wrapped__", found)  # a decorator may have left a record in its place

    def _module(self, where: str) -> ModuleType:
        return import_extra(where, "bench", needed_by=f"the head {self.name!r}")


def with_probabilities(model: Any, *, seed: int) -> Classifier:
    """``model`` itself, or calibrated on inner folds where it has no probabilities of its own."""
    if hasattr(model, "predict_proba"):
        return model
    from benchmarks.heads.calibration import Calibrated

    return Calibrated(model, random_state=seed)


def load_file(path: Path) -> ModuleType:
    """The module in a Python file, run once in a process; the script that the process runs is not run again.

    Raises
    ------
    InputError
        When there is no such file, or running it fails.
    """
    name = f"own_heads_{hashlib.sha256(os.path.realpath(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"got {str(path)!r} as a file of heads, expected an existing .py file")
    if os.path.realpath(path) == _main_file():
        sys.modules[name] = sys.modules["__main__"]
        return sys.modules[name]
    try:
        source = read_file(path, limit=LARGEST_FILE)
        return run_source(source, path, name=name)
    except BaseException as error:  # somebody's code, in a process of its own
        raise InputError(f"{str(path)!r} can't be run: {type(error).__name__}: {reason(error)}") from error


def place_of(function: Callable[..., Any]) -> str:
    """``module:function``, or ``file.py:function`` where it is in the script that runs: a worker loads that by path."""
    script = _main_file() if function.__module__ == "__main__" else ""
    return f"{script or function.__module__}:{function.__qualname__}"


def _main_file() -> str:
    """The resolved path of the script that this process runs; empty where there is none."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return os.path.realpath(path) if path else ""


@lru_cache
def _code_hash(where: str) -> str:
    """Of the module or file ``where``, which is not imported, and of the head modules it imports; sources only."""
    waiting, seen = [where], set()
    digest = hashlib.sha256()
    while waiting:
        current = waiting.pop(0)
        path = _source(current)
        if current in seen or path is None:
            continue
        seen.add(current)
        code = path.read_bytes()
        digest.update(code)
        for node in ast.walk(ast.parse(code)):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            # The record type in this file decides nothing about a fit.
            if module and module.startswith("benchmarks.heads.") and module != __name__:
                waiting.append(module)
    return digest.hexdigest()[:16] if seen else ""


def _source(where: str) -> Path | None:
    if where.endswith(".py"):
        return Path(where) if Path(where).is_file() else None
    try:
        spec = importlib.util.find_spec(where)
    except ImportError:
        return None
    return Path(spec.origin) if spec and spec.origin and Path(spec.origin).is_file() else None
