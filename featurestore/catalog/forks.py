"""Resets objects in a forked child, which has a copy of its parent's memory but none of its other threads."""

import ctypes
import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """An object that holds locks or uses background threads, such as a DuckDB database."""

    def renew(self) -> None:
        """Reset the object in a forked child; locks and databases of the parent must be neither used nor freed."""


_ALIVE: "WeakSet[Renewable]" = WeakSet()


def renew_in_children(thing: Renewable) -> None:
    """Call ``thing.renew()`` in every child that this process forks while ``thing`` lives."""
    _ALIVE.add(thing)


def never_free(thing: object) -> None:
    """Never free ``thing``, not even at exit: freeing DuckDB would wait for threads that a child lacks."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _renew_all() -> None:
    for thing in list(_ALIVE):
        thing.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_all)
