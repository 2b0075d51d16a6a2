"""Shows the progress of a comparison: a bar on a terminal, lines in a log, one line that is rewritten in a notebook."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from featurestore.progress import ConsoleProgress, Progress

SECONDS_BETWEEN_UPDATES = 0.5


class NotebookProgress:
    """One line on stdout, rewritten in place; notebooks show stderr as an error."""

    def __init__(self, label: str, unit: str) -> None:
        self.label = label
        self.unit = unit
        self._shown = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` things are finished."""
        now = time.monotonic()
        if done < total and now - self._shown < SECONDS_BETWEEN_UPDATES:
            return
        self._shown = now
        print(f"\r{self.label}: {done:,} of {total:,} {self.unit}", end="\n" if done >= total else "", flush=True)


def in_notebook() -> bool:
    """Whether what is printed goes to a Jupyter kernel."""
    return type(sys.stdout).__module__.startswith("ipykernel")


@contextmanager
def shown(wanted: bool) -> Iterator[tuple[Progress | None, Progress | None]]:
    """Callbacks for cells and for measured heads; None where nothing is to be shown."""
    names = (("bench", "cells"), ("time and memory", "heads"))
    if not wanted:
        yield None, None
    elif in_notebook():
        cells, heads = (NotebookProgress(*name) for name in names)
        yield cells, heads
    else:
        with ExitStack() as stack:
            cells_, heads_ = (stack.enter_context(ConsoleProgress(*name)) for name in names)
            yield cells_, heads_
