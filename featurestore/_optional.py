"""Imports what the core install does not bring, and says in one sentence how to get it."""

import importlib
from types import ModuleType

from featurestore.errors import MissingExtra


def import_extra(module: str, extra: str, *, needed_by: str) -> ModuleType:
    """Import ``module``, which comes with the extra ``extra``.

    Raises
    ------
    MissingExtra
        When it is not installed: what needed it and the pip command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # A module that is there but misses a piece of its own is another fault: say which piece.
        missing = error.name or module
        raise MissingExtra(
            f"{needed_by} needs the package {missing!r}, which is not installed: pip install 'featurestore[{extra}]'"
        ) from error
