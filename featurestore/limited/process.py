"""LimitedProcess: a Python process that answers calls within limits of time and memory; here is the caller's side."""

import json
import os
import pickle
import selectors
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Generator
from contextlib import suppress
from typing import Any

from featurestore import errors
from featurestore.errors import FeatureStoreError, InputError, QueryError
from featurestore.quiet import verbose

# All memory that the process may take; DuckDB's own limit, 2 GB, is part of it.
MEMORY_BYTES = 2_500_000_000
# A message of the process: its kind, and the number of bytes that follow. None is longer than a chunk.
HEAD, CHUNK = struct.Struct("<cI"), 1 << 20
STARTED, DATA, NOTE, END = b"S", b"D", b"N", b"E"
SIZE = struct.Struct("<Q")  # of a request
# Seconds that the process may take to import what it needs.
START_SECONDS = 120.0
# A signal that the system delivers to another thread does not wake this one, so it looks for one at this interval.
LOOK_SECONDS = 0.5
CODE = "import sys; sys.path[:] = {path!r}; from featurestore.limited.child import serve; serve({memory})"
# Threads of libraries take memory for nothing, and so do allocators that reserve it in advance.
ENVIRONMENT = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

_all: "weakref.WeakSet[LimitedProcess]" = weakref.WeakSet()


class LimitExceeded(QueryError):
    """A process was ended because it exceeded a limit, or it ended itself."""


class LimitedProcess:
    """A process that runs one call at a time; it ends when this process does, however this one ends.

    Its memory is limited where the system can do that (Linux); its time everywhere.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", CODE.format(path=sys.path, memory=MEMORY_BYTES)]
        # In a group of its own, so that Ctrl-C reaches this process only, which then ends that one.
        group: dict[str, Any] = {"creationflags": 0x200} if sys.platform == "win32" else {"process_group": 0}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose() else subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, **ENVIRONMENT},
            **group,
        )
        _all.add(self)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def call(self, task: str, *arguments: Any, seconds: float) -> Generator[bytes | str]:
        """Yield what the function ``task``, ``module:name``, yields there: pieces of bytes, and notes.

        The process is ended unless the function has come to its end, also when this generator is closed early.

        Parameters
        ----------
        seconds
            For how long the function may run; the time that the caller takes between two pieces does not count.

        Raises
        ------
        FeatureStoreError
            As the function does.
        LimitExceeded
            When a limit is exceeded.
        """
        try:
            self._send(pickle.dumps((task, arguments, seconds, *_surroundings())))
            outcome = yield from self._pieces(seconds)
        except BaseException:
            self.end()
            raise
        if outcome["ends"]:
            self.end()
        if outcome["error"] is not None:
            kind = getattr(errors, outcome["error"][0], FeatureStoreError)
            raise kind(outcome["error"][1])

    def end(self) -> None:
        """Kill the process, if it still runs."""
        self._process.kill()
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        """Close its pipes, which a forked child must not use: the process is its parent's."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        _all.discard(self)

    def disown(self) -> None:
        """Forget the process in a forked child, where it can't be waited for."""
        self.forget()
        self._process.returncode = 0

    def _send(self, request: bytes) -> None:
        content = memoryview(SIZE.pack(len(request)) + request)
        assert self._process.stdin is not None
        try:
            while content:
                content = content[self._process.stdin.write(content) :]
        except OSError:  # it has ended: the answer says how
            return

    def _pieces(self, seconds: float) -> Generator[bytes | str, None, dict[str, Any]]:
        clock = _Countdown(START_SECONDS, seconds)
        while True:
            kind, size = HEAD.unpack(self._read(HEAD.size, clock))
            if kind not in (STARTED, DATA, NOTE, END) or size > CHUNK:
                raise QueryError("the process that ran the query sent what it should not: run the query again")
            content = self._read(size, clock)
            if kind == STARTED:
                clock = _Countdown(seconds, seconds)
            elif kind == DATA:
                yield content
            elif kind == NOTE:
                yield content.decode()
            else:
                outcome: dict[str, Any] = json.loads(content)
                return outcome

    def _read(self, size: int, clock: "_Countdown") -> bytes:
        """The next bytes that the process writes; only the time that they are waited for counts."""
        assert self._process.stdout is not None
        blocks: list[bytes] = []
        while size > 0:
            clock.wait_for(self._process.stdout)
            block = os.read(self._process.stdout.fileno(), size)
            if not block:
                raise self._ended()
            blocks.append(block)
            size -= len(block)
        return b"".join(blocks)

    def _ended(self) -> LimitExceeded:
        """Why it has ended before the function did."""
        code = self._process.wait()
        how = f"it was ended by signal {-code}" if code < 0 else f"exit code {code}"
        return LimitExceeded(
            f"the process that ran the query ended ({how}); it may need more than {MEMORY_BYTES / 1e9:g} GB of memory: "
            "simplify the query"
        )


class _Countdown:
    """Counts down ``left`` seconds while a pipe is waited for; ``limit`` is the number that a message names."""

    def __init__(self, left: float, limit: float) -> None:
        self._left = left
        self._limit = limit

    def wait_for(self, pipe: Any) -> None:
        """Return when there is something to read; raises `QueryError` when the time is up.

        Windows can't wait for a pipe: there the process ends itself at its limit.
        """
        if sys.platform == "win32":
            return
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            before = time.monotonic()
            while not selector.select(min(max(self._left, 0.0), LOOK_SECONDS)):
                now = time.monotonic()
                self._left, before = self._left - (now - before), now
                if self._left <= 0:
                    raise timed_out(self._limit)
            self._left -= time.monotonic() - before


def check_seconds(seconds: float) -> None:
    """Raise `InputError` unless ``seconds`` is a time limit."""
    if not seconds > 0:
        raise InputError(f"got a time limit of {seconds:g} s, expected more than 0: leave it out for the usual one")


def timed_out(seconds: float) -> LimitExceeded:
    """The error of a query that exceeded its time limit."""
    return LimitExceeded(f"the query took longer than {seconds:g} s and was stopped: simplify it")


def _surroundings() -> tuple[str, dict[str, str]]:
    """The working directory and the environment, which may have changed since the process was started."""
    try:
        folder = os.getcwd()
    except OSError:  # it was removed
        folder = ""
    return folder, dict(os.environ)


def _disown_all() -> None:
    for process in list(_all):
        process.disown()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_disown_all)
