"""Imports at the time of use: optional dependencies with an error that says how to install them, names, own files."""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from featurestore.errors import MissingExtra

# Packages without wheels for newer Pythons, and the last Python they support; must agree with pyproject.toml's markers.
LAST_PYTHON = {"tensorflow": (3, 13), "tensorflow_hub": (3, 13)}


def import_extra(module: str, extra: str, *, needed_by: str, instead: str = "") -> ModuleType:
    """Import ``module``, which the extra ``extra`` installs; ``instead`` names an alternative that works without it.

    Raises
    ------
    MissingExtra
        When it is not installed. The message says what needs it, and which pip command or Python version provides it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        last = LAST_PYTHON.get(module.partition(".")[0])
        if last and sys.version_info[:2] > last:
            here, newest = (".".join(map(str, version)) for version in (sys.version_info[:2], last))
            raise MissingExtra(
                f"{needed_by} needs the package {module!r}, which has no wheels for Python {here}: "
                f"use Python 3.11 to {newest}" + (f", or {instead}" if instead else "")
            ) from error
        # The module may be installed while one of its own dependencies is missing: then name that one.
        missing = error.name or module
        raise MissingExtra(
            f"{needed_by} needs the package {missing!r}, which is not installed: pip install 'featurestore[{extra}]'"
        ) from error


# For each name, command or option of an earlier version what it is called now, until the next major one:
# {"featurestore": {"OldName": "NewName"}}; commands, and options without their dashes, are of "the command line".
RENAMED: dict[str, dict[str, str]] = {}


def current_name(place: str, name: str, *, say: Callable[[str], None]) -> str:
    """What ``name`` of ``place``, a package or a program, is called now; of a renamed one ``say`` a sentence first."""
    now = RENAMED.get(place, {}).get(name)
    if now is None:
        return name
    say(f"{name!r} of {place} is called {now!r} now: the next major version no longer takes the old name")
    return now


def import_public(name: str, places: Mapping[str, tuple[str, str]], namespace: dict[str, Any]) -> Any:
    """The public ``name`` of a package, imported when it is first used; the ``__getattr__`` of a package calls it.

    Parameters
    ----------
    places
        For each public name its module, and what it is called there.
    namespace
        The ``globals()`` of the package, which gets the name, so that the next use finds it there; an old name, which
        works with a FutureWarning, is not kept.

    Raises
    ------
    AttributeError
        When the package has no such name.
    """
    package = namespace["__name__"]
    now = current_name(package, name, say=lambda sentence: warnings.warn(sentence, FutureWarning, stacklevel=5))
    if now not in places:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    module, attribute = places[now]
    namespace[now] = value = getattr(importlib.import_module(module), attribute)
    return value


class _ReadSource(SourceFileLoader):
    """Runs the bytes that were read; Python's own loader would read the file again, or a ``.pyc`` beside it."""

    def __init__(self, name: str, path: str, source: bytes) -> None:
        super().__init__(name, path)
        self._source = source

    def get_code(self, fullname: str) -> CodeType:
        """The compiled bytes."""
        return self.source_to_code(self._source, self.path)


def run_source(source: bytes, path: Path, *, name: str) -> ModuleType:
    """Run ``source``, the bytes of the Python file ``path``, as the module ``name``, which is entered in `sys.modules`.

    Nothing else is run in its place: no compiled file, and no later content of ``path``. What it raises is passed on.
    """
    loader = _ReadSource(name, str(path), source)
    spec = importlib.util.spec_from_loader(name, loader, origin=str(path))
    assert spec is not None
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
