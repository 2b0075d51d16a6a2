"""Runs a user's SQL in a process with hard limits of time and memory: here is what its callers use."""

import io
import json
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from featurestore.catalog.failing import Failure
from featurestore.catalog.sandbox import collected
from featurestore.errors import QueryError
from featurestore.limited.pool import run
from featurestore.limited.process import LimitExceeded
from featurestore.storage.objects import LocalObjects
from featurestore.storage.state import State

CHILD = "featurestore.catalog.isolated_child"
# Seconds for binding the views of a state, and more for each. One that needs longer fails; after so many, all that
# follow do.
BINDING_SECONDS, EACH_SECONDS, MOST_SLOW = 10.0, 0.2, 3


def sql(objects: LocalObjects, state: State, query: str, parameters: object = None, *, seconds: float) -> pa.Table:
    """The result of SQL that a user typed over ``state``; raises as `Database.sql`, also where a hard limit is hit."""
    pieces = run(f"{CHILD}:rows", *_place(objects, state), query, parameters, seconds=seconds)
    with closing(pieces), pa.PythonFile(io.BufferedReader(_Pieces(pieces)), mode="r") as file:
        try:
            with pa.ipc.open_stream(file) as reader:
                table = collected(reader)
        except pa.ArrowException as error:
            raise QueryError(f"the result can't be read ({error}): cast its nested columns to VARCHAR") from error
        deque(pieces, 0)  # to the end, so that the process can answer again
        return table


def try_view(objects: LocalObjects, state: State, name: str, query: str, *, seconds: float) -> int:
    """Check that ``state`` can have ``query`` as its view ``name``, and return the number of rows.

    Raises
    ------
    InputError
        When it lacks `ImgId`, repeats one, or another view would fail.
    QueryError
        When the query is refused, fails, or exceeds a limit.
    """
    [found] = _records(f"{CHILD}:try_view", objects, state, name, query, seconds=seconds)
    return int(found["rows"])


def failing_views(objects: LocalObjects, state: State) -> dict[str, Failure]:
    """The users' views of ``state`` that can't be bound, each with the reason, in their order."""
    seconds = BINDING_SECONDS + EACH_SECONDS * len(state.views)
    slow: dict[str, Failure] = {}
    while True:
        found: dict[str, Failure | None] = {}
        given = {name: asdict(failure) for name, failure in slow.items()}
        try:
            for record in _records(f"{CHILD}:views", objects, state, given, seconds=seconds):
                found[record["view"]] = Failure(**record["failure"]) if record["failure"] else None
        except LimitExceeded as error:
            left = [name for name in state.views if name not in found]
            for name in left[:1] if len(slow) < MOST_SLOW else left:
                slow[name] = Failure(left[0], str(error))
            if len(left) > 1:
                continue
            found[left[0]] = slow[left[0]]
        return {name: failure for name, failure in found.items() if failure is not None}


def _place(objects: LocalObjects, state: State) -> tuple[str, bytes]:
    """What opens the same state in another process."""
    return str(objects.root.absolute()) if objects.in_place else objects.address, state.to_record()


def _records(
    task: str, objects: LocalObjects, state: State, *arguments: object, seconds: float
) -> Iterator[dict[str, Any]]:
    """The lines of JSON that ``task`` yields, each as one note."""
    for note in run(task, *_place(objects, state), *arguments, seconds=seconds):
        yield json.loads(note)


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes | str]) -> None:
        super().__init__()
        self._pieces = pieces
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` from the next pieces; 0 at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            if isinstance(piece, bytes):
                self._left = memoryview(piece)
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
