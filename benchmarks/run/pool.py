"""Runs tasks in worker processes with limits: a task that crashes, hangs or uses too much memory fails alone."""

import contextlib
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.plan.cells import shortened
from benchmarks.run import worker
from benchmarks.run.message import DONE, PROGRESS, STARTED
from benchmarks.run.process import (
    WorkerProcess,
    changed,
    context_of,
    handled,
    heard,
    interrupted_later,
    one_thread_each,
    send,
    started,
    stop,
)
from featurestore.errors import InputError
from featurestore.progress import Progress

TIME_LIMIT_SECONDS = 600.0
# Bytes of the largest message of a worker, where the caller does not know what to expect.
LARGEST = 16 * 2**20

Given = TypeVar("Given")
Result = TypeVar("Result")


def as_sent(task: Any, content: Any) -> Any:
    """Plain data as it was sent, unchecked."""
    return content


def computed(
    function: Callable[[Given], Any],
    tasks: Sequence[Given],
    *,
    workers: int,
    failed: Callable[[str], Result],
    read: Callable[[Given, Any], Result] = as_sent,
    largest: int = LARGEST,
    time_limit: float = TIME_LIMIT_SECONDS,
    memory_limit_mb: int | None = None,
    alone: Callable[[Given], bool] = lambda task: False,
    one_thread: bool = True,
    folder: Path | None = None,
    on_progress: Progress | None = None,
) -> Generator[tuple[int, Result]]:
    """The number and result of each task, in the order in which the tasks end.

    Parameters
    ----------
    function
        Importable by name; called with one task. It returns what `message.encoded` takes.
    failed
        Makes a result of a sentence, for a task that ran too long or whose process died.
    read
        Makes a result of a task and what its process sent, the fields of a record as a dict; raises ValueError when
        that is no result, since code of a head runs in the process.
    largest
        Bytes of the largest message that is accepted.
    time_limit
        Seconds a task may take.
    memory_limit_mb
        What a worker may allocate beyond what it holds at its start; Linux only.
    alone
        Whether a task runs in a process that runs no other.
    one_thread
        Let libraries run on one thread; else on as many as they like, in processes that are started anew.
    folder
        The caller's temporary folder: those of the workers are in it, and they remove it if this process is killed.
    on_progress
        Called with what a task gives to `worker.report`.

    Raises
    ------
    InputError
        When it is called in a worker process: a script starts a run whenever it is imported.
    """
    refuse_worker()
    start = _Start(memory_limit_mb, largest, folder, forked=one_thread)
    with one_thread_each() if one_thread else contextlib.nullcontext():
        said = _messages(function, tasks, workers, time_limit, start, alone)
        with contextlib.closing(said):  # stops the workers when the caller stops iterating
            for number, kind, content in said:
                if kind == PROGRESS:
                    if on_progress:
                        on_progress(*content)
                elif kind == DONE:
                    yield number, _read(read, failed, tasks[number], content)
                else:
                    yield number, failed(shortened(content))


def _read(read: Callable[[Given, Any], Result], failed: Callable[[str], Result], task: Given, content: Any) -> Result:
    try:
        return read(task, content)
    except ValueError as error:
        return failed(shortened(f"its process sent what is no result ({error})"))


def refuse_worker() -> None:
    """Raise `InputError` in a worker process, whose task has loaded a script that starts a run when it is loaded."""
    if worker.is_worker():
        raise InputError(
            "put what starts the run below `if __name__ == '__main__':`, since worker processes load this file too"
        )


@dataclass(frozen=True)
class _Start:
    """How a worker is started."""

    memory_limit_mb: int | None
    largest: int
    folder: Path | None
    forked: bool

    def process(self, task: int) -> WorkerProcess:
        """A new worker for the task of that number; Ctrl-C counts when it has started."""
        with interrupted_later():
            return started(context_of(forked=self.forked), task, self.memory_limit_mb, self.largest, self.folder)


def _messages(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    time_limit: float,
    start: _Start,
    alone: Callable[[Any], bool],
) -> Generator[tuple[int, str, Any]]:
    """The messages of each task, with its number: progress, then its result or the reason of its failure."""
    waiting = deque(enumerate(tasks))
    crew: list[WorkerProcess] = []
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                number, task = waiting.popleft()
                with interrupted_later():
                    crew.append(start.process(number))
                send(crew[-1], function, task, last=alone(task))
            for one in changed(crew):
                number, message = one.task, heard(one, time_limit)
                if message is None or message[0] == STARTED:
                    continue
                kind, content, last = message
                if kind != PROGRESS:
                    if last or not waiting or alone(waiting[0][1]):
                        stop([one])
                        crew.remove(one)
                    else:
                        one.task, task = waiting.popleft()
                        send(one, function, task, last=False)
                yield number, kind, content
    finally:
        with handled(signal.SIG_IGN):
            stop(crew)


class KeptWorker:
    """A worker process for a caller whose tasks come one at a time; kept from task to task while it is sound.

    Parameters
    ----------
    time_limit, memory_limit_mb
        As those of `computed`.
    """

    def __init__(self, *, time_limit: float, memory_limit_mb: int | None) -> None:
        self.time_limit = time_limit
        self.memory_limit_mb = memory_limit_mb
        self._process: WorkerProcess | None = None

    def run(self, function: Callable[[Any], Any], task: Any, *, alone: bool, largest: int) -> tuple[str, Any]:
        """``message.DONE`` and what ``function`` returns, unchecked, or ``message.FAILED`` and a sentence.

        On one thread; ``alone`` in a process that runs nothing else. For ``largest`` see `computed`.
        """
        if alone:
            self.close()
        try:
            return self._answer(function, task, last=alone, largest=largest)
        except BaseException:  # an interrupt: the process must not go on
            self.close()
            raise

    def close(self) -> None:
        """Stop the process, and whatever it has started."""
        if self._process is not None:
            stop([self._process])
            self._process = None

    def _answer(self, function: Callable[[Any], Any], task: Any, *, last: bool, largest: int) -> tuple[str, Any]:
        if self._process is None:
            with one_thread_each(), interrupted_later():
                self._process = _Start(self.memory_limit_mb, largest, None, forked=True).process(0)
        self._process.inbox.largest = largest
        send(self._process, function, task, last=last)
        while True:
            changed([self._process])
            message = heard(self._process, self.time_limit)
            if message is None or message[0] in (STARTED, PROGRESS):
                continue
            kind, content, ended = message
            if ended:
                self.close()
            return kind, content if kind == DONE else shortened(content)
