"""Swap: how the state of a store is replaced, under the lock of its folder, or by a conditional put elsewhere."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from featurestore.errors import StoreError, StoreNotFound
from featurestore.files import write_atomic
from featurestore.storage.lock import replaced
from featurestore.storage.objects import LocalObjects, Tag
from featurestore.storage.state import EARLIER, STATE_FILE, State, read_state, read_tagged_state

# How often a put of the state whose reply was lost is repeated, and how many seconds lie between the first two.
ATTEMPTS, PAUSE = 5, 0.1


class Swap(Protocol):
    """Reads and replaces the state of one store."""

    def newest(self) -> State:
        """Read the current state, an empty one where there is no store: the next `put` starts from it."""
        ...

    def check(self, state: State) -> None:
        """Refuse to go on from ``state``, where it is known that it can't be replaced.

        Raises
        ------
        StoreError
            When the folder was removed or replaced, or another process changed the state.
        """
        ...

    def put(self, state: State, new: State) -> State | None:
        """Replace ``state`` by ``new``.

        Returns
        -------
        The state with this commit, which others may have followed; None if another commit was first.

        Raises
        ------
        StoreError
            As `check`; when it is unknown whether the state was replaced.
        """
        ...


class LockedSwap:
    """The state of the store in the folder ``root``, whose lock is held while ``is_locked`` returns True."""

    def __init__(self, root: Path, is_locked: Callable[[], bool]) -> None:
        self._root = root
        self._is_locked = is_locked

    def newest(self) -> State:
        """See `Swap.newest`."""
        try:
            return read_state(self._root)
        except StoreNotFound:
            return State()

    def check(self, state: State) -> None:
        """See `Swap.check`."""
        if not self._is_locked() or self.newest().commit != state.commit:
            raise replaced(self._root)

    def put(self, state: State, new: State) -> State | None:
        """See `Swap.put`; never None, since nobody else may write."""
        self.check(state)
        write_atomic(self._root / STATE_FILE, new.to_record())
        return new


class TaggedSwap:
    """The state of a store on an object store, which anybody may replace at any time; nothing is locked.

    The put of a state succeeds only if the object is still the one that was read. If the reply is lost, the random name
    of the commit tells whether it was done: each state lists those before it.
    """

    def __init__(self, objects: LocalObjects) -> None:
        self._objects = objects
        self._base = State()
        self._tag: Tag | None = None

    def newest(self) -> State:
        """See `Swap.newest`."""
        try:
            self._base, self._tag = read_tagged_state(self._objects)
        except StoreNotFound:
            self._base, self._tag = State(), None
        return self._base

    def check(self, state: State) -> None:
        """See `Swap.check`: `put` compares."""

    def put(self, state: State, new: State) -> State | None:
        """See `Swap.put`."""
        if state.commit != self._base.commit:  # the tag is that of another state
            return None
        new = replace(new, earlier=(state.commit, *state.earlier)[:EARLIER] if state.number else ())
        failed: StoreError | None = None
        for attempt in range(ATTEMPTS):
            before, honoured = self._tag, True
            try:
                honoured = bool(state.earlier) or self._honours_conditions()  # tried before the first commit there
                tag = self._objects.swap(STATE_FILE, new.to_record(), before) if honoured else None
            except StoreError as error:
                tag, failed = None, error
            if not honoured:
                raise StoreError(
                    f"the object store of {self._objects.address!r} ignores the conditions of a put (If-None-Match, "
                    "If-Match), so that writers would undo each other's changes: write to a folder"
                )
            if tag is not None:
                self._base, self._tag = new, tag
                return new
            newest = self._after(failed)
            if new.commit in (newest.commit, *newest.earlier):
                return newest
            if self._tag != before:
                if failed is not None and newest.number - state.number > len(newest.earlier) + 1:
                    raise self._unknown(failed)
                return None
            time.sleep(PAUSE * 2**attempt)
        raise failed or self._unknown(None)

    def _honours_conditions(self) -> bool:
        """Whether the object store refuses to replace an object that is not as expected."""
        probe = f".probe.{uuid4().hex}.tmp"
        tag = self._objects.swap(probe, b"1", None)
        replaced = [
            self._objects.swap(probe, b"2", None),
            self._objects.swap(probe, b"3", Tag('"0"', tag and tag.version)),
        ]
        self._objects.delete([probe])
        return replaced == [None, None]

    def _after(self, failed: StoreError | None) -> State:
        """The state after a put that failed, or was refused."""
        try:
            return self.newest()
        except StoreError as error:
            raise self._unknown(failed or error) from error

    def _unknown(self, error: StoreError | None) -> StoreError:
        return StoreError(
            f"it is unknown whether the last change of the store {self._objects.address!r} was stored"
            f"{'' if error is None else f' ({error})'}: look at the store before you run the command again"
        )
