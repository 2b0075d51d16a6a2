"""What must not go on in a forked child: it has the memory of its parent, and none of the parent's other threads."""

import ctypes
import os
from typing import Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Holds a lock, or what threads of its own work for, such as a DuckDB database."""

    def renew(self) -> None:
        """Start anew in a child: what a thread of the parent may hold is neither used nor freed."""


_ALIVE: "WeakSet[Renewable]" = WeakSet()


def renew_in_children(thing: Renewable) -> None:
    """Call ``thing.renew()`` in every child that this process forks while ``thing`` lives."""
    _ALIVE.add(thing)


def never_free(thing: object) -> None:
    """Keep ``thing`` to the end of this process and beyond: freeing DuckDB waits for threads that a child lacks."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _renew_all() -> None:
    for thing in list(_ALIVE):
        thing.renew()


if hasattr(os, "register_at_fork"):  # Windows can't fork
    os.register_at_fork(after_in_child=_renew_all)
