"""Runs tasks in worker processes with limits: a task that crashes, hangs or uses too much memory fails alone."""

import contextlib
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeVar

from benchmarks.run import worker
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

Given = TypeVar("Given")
Result = TypeVar("Result")


def computed(
    function: Callable[[Given], Result],
    tasks: Sequence[Given],
    *,
    workers: int,
    failed: Callable[[str], Result],
    time_limit: float = TIME_LIMIT_SECONDS,
    memory_limit_mb: int | None = None,
    fresh: bool = False,
    one_thread: bool = True,
    on_progress: Progress | None = None,
) -> Generator[tuple[int, Result]]:
    """The number and result of each task, in the order in which the tasks end.

    Parameters
    ----------
    function
        Importable by name; called with one task.
    failed
        Makes a result of a sentence, for a task that ran too long or whose process died.
    time_limit
        Seconds a task may take.
    memory_limit_mb
        What a worker may allocate beyond what it holds at its start; Linux only.
    fresh
        Run each task in a process that has run no other: one that has keeps memory for the next.
    one_thread
        Let libraries run on one thread; else on as many as they like, in processes that are started anew.
    on_progress
        Called with what a task gives to `worker.report`.

    Raises
    ------
    InputError
        When it is called in a worker process: a script starts a run whenever it is imported.
    """
    refuse_worker()
    with one_thread_each() if one_thread else contextlib.nullcontext():
        said = _messages(function, tasks, workers, time_limit, memory_limit_mb, fresh, one_thread)
        with contextlib.closing(said):  # stops the workers when the caller stops iterating
            for number, kind, content in said:
                if kind != worker.PROGRESS:
                    yield number, content if kind == worker.DONE else failed(content)
                elif on_progress:
                    on_progress(*content)


def refuse_worker() -> None:
    """Raise `InputError` in a worker process, whose task has loaded a script that starts a run when it is loaded."""
    if worker.is_worker():
        raise InputError(
            "put what starts the run below `if __name__ == '__main__':`, since worker processes load this file too"
        )


def _messages(
    function: Callable[[Any], Any],
    tasks: Sequence[Any],
    workers: int,
    time_limit: float,
    memory_limit_mb: int | None,
    fresh: bool,
    forked: bool,
) -> Generator[tuple[int, str, Any]]:
    """The messages of each task, with its number: progress, then its result or the reason of its failure."""
    waiting = deque(enumerate(tasks))
    crew: list[WorkerProcess] = []
    try:
        while waiting or crew:
            while waiting and len(crew) < workers:
                number, task = waiting.popleft()
                with interrupted_later():
                    crew.append(started(context_of(forked=forked), number, memory_limit_mb))
                send(crew[-1], function, task, last=fresh)
            for one in changed(crew):
                number, (kind, content) = one.task, heard(one, time_limit)
                if kind == worker.STARTED:
                    one.deadline = time.monotonic() + time_limit
                    continue
                if kind != worker.PROGRESS:
                    content, last = content
                    if last or not waiting:
                        stop([one])
                        crew.remove(one)
                    else:
                        one.task, task = waiting.popleft()
                        send(one, function, task, last=fresh)
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

    def run(self, function: Callable[[Any], Any], task: Any) -> tuple[str, Any]:
        """``worker.DONE`` and what ``function`` returns, or ``worker.FAILED`` and a sentence; on one thread."""
        try:
            return self._answer(function, task)
        except BaseException:  # an interrupt: the process must not go on
            self.close()
            raise

    def close(self) -> None:
        """Stop the process, and whatever it has started."""
        if self._process is not None:
            stop([self._process])
            self._process = None

    def _answer(self, function: Callable[[Any], Any], task: Any) -> tuple[str, Any]:
        if self._process is None:
            with one_thread_each(), interrupted_later():
                self._process = started(context_of(forked=True), 0, self.memory_limit_mb)
        send(self._process, function, task, last=False)
        while True:
            changed([self._process])
            kind, content = heard(self._process, self.time_limit)
            if kind == worker.STARTED:
                self._process.deadline = time.monotonic() + self.time_limit
            elif kind != worker.PROGRESS:
                answer, last = content
                if last:
                    self.close()
                return kind, answer
