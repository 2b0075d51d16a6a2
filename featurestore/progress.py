"""Shows the progress of long work: a bar on a terminal, plain lines in a log; it knows nothing about the work."""

import sys
import time
from typing import Any, Protocol

import click

from featurestore.terminal import unguarded, visible

SECONDS_BETWEEN_LINES = 5.0


class Progress(Protocol):
    """A callback for the progress of long work."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` things are finished."""
        ...


class ConsoleProgress:
    """Shows progress on stderr: ``with ConsoleProgress("embed", "images") as progress: work(on_progress=progress)``.

    Attributes
    ----------
    detail
        What the work shows of itself behind the speed.
    """

    def __init__(self, label: str, unit: str) -> None:
        self.label = label
        self.unit = unit
        self.detail = ""
        self._bar: Any = None
        self._started = self._printed = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` things are finished."""
        if self._first is None:
            self._first = done
            self._started = time.monotonic()
        rate = (done - self._first) / max(time.monotonic() - self._started, 1e-9)
        speed = f"{rate:,.{0 if rate >= 10 else 1}f} {self.unit}/s" + (f" ({self.detail})" if self.detail else "")
        if sys.stderr.isatty():
            self._show_bar(done, total, speed)
        elif time.monotonic() - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(f"{self.label}: {done:,} of {total:,} {self.unit}, {speed}", file=sys.stderr, flush=True)

    def pause(self) -> None:
        """End the line of the bar, so that other text can follow; the next call starts a new bar."""
        self._finish()

    def _show_bar(self, done: int, total: int, speed: str) -> None:
        if self._bar is None:
            self._bar = click.progressbar(
                length=total,
                label=visible(self.label),
                show_pos=True,
                item_show_func=lambda item: item,
                file=unguarded(sys.stderr),
            )
        self._bar.update(done - self._bar.pos, speed)
        if done >= total:
            self._finish()  # the next bar starts on a new line

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None
