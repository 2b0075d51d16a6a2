"""What runs in a process with limits: sets them, answers one call after another, and ends with its parent."""

import faulthandler
import json
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from queue import SimpleQueue
from typing import IO, Any

from featurestore import errors
from featurestore.errors import FeatureStoreError, QueryError, reason
from featurestore.limited.process import CHUNK, DATA, END, HEAD, MEMORY_BYTES, NOTE, SIZE, STARTED

# The parent ends the process at its limit; it ends itself so many seconds later, in case the parent can't.
GRACE_SECONDS = 2.0
LONGEST_SECONDS = 1e6
# A process that holds more than this after a call is not used again: much of it is never given back.
KEPT_BYTES = 700_000_000


def serve(memory: int) -> None:
    """Answer the calls that come in on standard input, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory(memory)
    requests, answers = _own_streams()
    inbox: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests, inbox), daemon=True).start()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        caller = _Caller(answers, nowhere)
        while True:
            caller.answer(inbox.get())


def limit_memory(memory: int) -> None:
    """Let this process take so many bytes and no more, and write no file; systems without such limits set none."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for limit, most in (("RLIMIT_DATA", memory), ("RLIMIT_CORE", 0)):
        with suppress(AttributeError, OSError, ValueError):  # ValueError: the system has a lower one
            resource.setrlimit(getattr(resource, limit), (most, most))


def _own_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Standard input and output; what anything else prints from now on goes nowhere."""
    requests, answers = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb", 0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    return requests, answers


def _receive(requests: IO[bytes], inbox: "SimpleQueue[bytes]") -> None:
    """Put each request into ``inbox``; at the end of the parent, end this process, whatever it does."""
    while True:
        size = _exactly(requests, SIZE.size)
        inbox.put(_exactly(requests, SIZE.unpack(size)[0]))


def _exactly(stream: IO[bytes], size: int) -> bytes:
    blocks: list[bytes] = []
    while size > 0:
        block = stream.read(size)
        if not block:
            os._exit(0)
        blocks.append(block)
        size -= len(block)
    return b"".join(blocks)


class _Caller:
    """Runs functions, and writes what they yield to ``answers``."""

    def __init__(self, answers: IO[bytes], nowhere: IO[str]) -> None:
        self._answers = answers
        self._nowhere = nowhere
        self._until: float | None = None

    def answer(self, request: bytes) -> None:
        """Run the function of a ``request``, and send what came of it."""
        error: tuple[str, str] | None = None
        try:
            task, arguments, seconds, folder, environment = pickle.loads(request)
            _move(folder, environment)
            module, _, name = task.partition(":")
            function = getattr(import_module(module), name)
            self._send(STARTED, b"")
            self._until = time.monotonic() + min(seconds, LONGEST_SECONDS)
            self._run(function(*arguments))
        except FeatureStoreError as caught:
            error = _kind(caught), str(caught)
        except MemoryError:
            error = QueryError.__name__, str(_out_of_memory())
        except RecursionError:
            error = QueryError.__name__, "the query is nested too deeply: break it up with WITH"
        except Exception as caught:
            error = (
                QueryError.__name__,
                str(QueryError(f"the query failed ({type(caught).__name__}: {reason(caught)})")),
            )
        faulthandler.cancel_dump_traceback_later()
        self._until = None
        self._send(END, json.dumps({"error": error, "ends": _memory() > KEPT_BYTES}).encode())

    def _run(self, pieces: Iterable[bytes | str]) -> None:
        self._watch()
        for piece in pieces:
            kind, content = (NOTE, piece.encode()) if isinstance(piece, str) else (DATA, piece)
            view = memoryview(content)
            for start in range(0, len(view), CHUNK):
                self._send(kind, view[start : start + CHUNK])

    def _watch(self) -> None:
        """Have this process ended some time after its limit, even if it holds the interpreter's lock."""
        if self._until is not None:
            left = max(self._until - time.monotonic(), 0.0) + GRACE_SECONDS
            faulthandler.dump_traceback_later(left, exit=True, file=self._nowhere)

    def _send(self, kind: bytes, content: Any) -> None:
        """Write a message; the time for which the parent does not read it does not count."""
        faulthandler.cancel_dump_traceback_later()
        before = time.monotonic()
        for block in (HEAD.pack(kind, len(content)), content):
            left = memoryview(block)
            while left:
                left = left[self._answers.write(left) :]
        if self._until is not None:
            self._until += time.monotonic() - before
            self._watch()


def _move(folder: str, environment: Mapping[str, str]) -> None:
    """Take the working directory and the environment that the parent has now."""
    if os.environ != environment:
        os.environ.clear()
        os.environ.update(environment)
    with suppress(OSError):  # it was removed
        os.chdir(folder)


def _kind(error: FeatureStoreError) -> str:
    """The name of the public class of ``error``."""
    return next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__)


def _out_of_memory() -> QueryError:
    return QueryError(
        f"the query needs more than {MEMORY_BYTES / 1e9:g} GB of memory and was stopped: simplify it, or select less"
    )


def _memory() -> int:
    """The bytes of memory that this process holds; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
