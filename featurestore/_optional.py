"""Imports what the core install does not bring, and says in one sentence how to get it."""

import importlib
import sys
from types import ModuleType

from featurestore.errors import MissingExtra

# What has no wheels from some Python on, and the last one that has: the markers of pyproject.toml say the same.
LAST_PYTHON = {"tensorflow": (3, 13), "tensorflow_hub": (3, 13)}


def import_extra(module: str, extra: str, *, needed_by: str, instead: str = "") -> ModuleType:
    """Import ``module``, which comes with the extra ``extra``; ``instead`` names what works without it.

    Raises
    ------
    MissingExtra
        When it is not installed: what needed it and the pip command that installs it, or the Pythons that have it.
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
        # A module that is there but misses a piece of its own is another fault: say which piece.
        missing = error.name or module
        raise MissingExtra(
            f"{needed_by} needs the package {missing!r}, which is not installed: pip install 'featurestore[{extra}]'"
        ) from error
