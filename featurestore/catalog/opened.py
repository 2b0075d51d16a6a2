"""The shared resources of one opened state (files, layout, databases, memo), each created once for all threads."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from featurestore.catalog import snapshots
from featurestore.catalog.database import Database
from featurestore.catalog.forks import renew_in_children
from featurestore.storage.layout import Layout
from featurestore.storage.objects import LocalObjects
from featurestore.storage.remote import objects_at
from featurestore.storage.state import State, read_state

Kept = TypeVar("Kept")


class Opened:
    """The resources of one state of the store at ``location``; nothing is read before it is needed.

    Attributes
    ----------
    memo
        Values that readers cache, each under its own name.
    """

    def __init__(self, location: str, snapshot: str | None) -> None:
        self._location = location
        self._snapshot = snapshot
        self._read: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._memo_locks: dict[str, threading.RLock] = {}
        self.memo: dict[str, Any] = {}
        renew_in_children(self)

    def renew(self) -> None:
        """Replace the locks in a forked child, where a thread of the parent may hold them; data read stays valid."""
        self._lock = threading.RLock()
        self._memo_locks = {}

    def without_memory(self) -> "Opened":
        """The same state without databases and memo; current users of this object are not affected."""
        other = Opened(self._location, self._snapshot)
        other._read = {name: self._read[name] for name in ("objects", "state", "layout") if name in self._read}
        return other

    @property
    def objects(self) -> LocalObjects:
        """The files of the store; raises as `objects_at`."""
        return self._once("objects", lambda: objects_at(self._location))

    @property
    def path(self) -> Path:
        """The store's folder; for a store at an address, the folder of its cache."""
        return self.objects.root

    @property
    def state(self) -> State:
        """The state; raises as `Reader.state`."""
        return self._once("state", self._read_state)

    @property
    def layout(self) -> Layout:
        """The parts of every table."""
        return self._once("layout", lambda: Layout(self.objects, self.state))

    @property
    def known_layout(self) -> Layout | None:
        """The layout, if it was already read, else None."""
        return self._read.get("layout")

    @property
    def database(self) -> Database:
        """The database for trusted SQL of programs."""
        return self._once("database", lambda: Database(self.layout, self.path))

    @property
    def locked_database(self) -> Database:
        """The database for SQL that a user typed."""
        return self._once("locked_database", lambda: Database(self.layout, self.path, locked=True))

    def remember(self, name: str, make: Callable[[], Kept]) -> Kept:
        """The memo's value for ``name``; if there is none, one thread computes it while others wait for it."""
        with self._lock:
            lock = self._memo_locks.setdefault(name, threading.RLock())
        with lock:
            if name not in self.memo:
                self.memo[name] = make()
            return cast("Kept", self.memo[name])

    def _read_state(self) -> State:
        newest = read_state(self.objects)
        return newest if self._snapshot is None else snapshots.read(self.objects, self._snapshot)

    def _once(self, name: str, read: Callable[[], Kept]) -> Kept:
        with self._lock:
            if name not in self._read:
                self._read[name] = read()
            return cast("Kept", self._read[name])
