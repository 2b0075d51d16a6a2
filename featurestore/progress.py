"""Shows the progress of long work: a bar on a terminal, plain lines in a log; it knows nothing about the work."""

import sys
import time
from typing import Any, Protocol

import click

from featurestore.terminal import unguarded, visible

SECONDS_BETWEEN_LINES = 5.0
# Of work that already took long, a line is printed less often: once for each twentieth of the time so far.
SHARE_BETWEEN_LINES = 0.05
# Whether the user asked for silence, in the `meta` of click's context.
QUIET = "featurestore.quiet"


class Progress(Protocol):
    """A callback for the progress of long work."""

    def __call__(self, done: int, total: int) -> None:
        """``done`` of ``total`` things are finished."""
        ...


def is_quiet() -> bool:
    """Whether the command that runs was called with ``--quiet``."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(QUIET))


class ConsoleProgress:
    """Shows progress on stderr: ``with ConsoleProgress("embed", "images") as progress: work(on_progress=progress)``.

    With ``--quiet`` it shows nothing.

    Attributes
    ----------
    detail
        What the work shows of itself behind the speed.
    """

    def __init__(self, label: str, unit: str) -> None:
        self.label = label
        self.unit = unit
        self.detail = ""
        self._quiet = is_quiet()
        self._bar: Any = None
        self._started = self._printed = time.monotonic()
        self._first: int | None = None

    def __enter__(self) -> "ConsoleProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self._finish()

    def __call__(self, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` things are finished."""
        if self._quiet:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = done
            self._started = now
        if sys.stderr.isatty():
            self._show_bar(done, total, ", ".join(self._facts(done, total, now)))
        elif now - self._printed >= max(SECONDS_BETWEEN_LINES, SHARE_BETWEEN_LINES * (now - self._started)):
            self._printed = now
            facts = [f"{done:,} of {total:,} {self.unit}", *self._facts(done, total, now)]
            print(f"{self.label}: {', '.join(facts)}", file=sys.stderr, flush=True)

    def pause(self) -> None:
        """End the line of the bar, so that other text can follow; the next call starts a new bar."""
        self._finish()

    def _facts(self, done: int, total: int, now: float) -> list[str]:
        """The speed since the first call, the time that is left at that speed, and the detail; as far as known."""
        finished, seconds = done - (self._first or 0), now - self._started
        facts = []
        if finished > 0 and seconds > 0:
            facts.append(speed_text(finished / seconds, self.unit))
            if done < total:
                facts.append(f"about {duration_text((total - done) * seconds / finished)} left")
        return [*facts, self.detail] if self.detail else facts

    def _show_bar(self, done: int, total: int, facts: str) -> None:
        if self._bar is None:
            self._bar = click.progressbar(
                length=total,
                label=visible(self.label),
                show_eta=False,  # ours is in the facts
                show_percent=False,
                show_pos=True,
                item_show_func=lambda item: item,
                file=unguarded(sys.stderr),
            )
        self._bar.update(done - self._bar.pos, visible(facts))
        if done >= total:
            self._finish()  # the next bar starts on a new line

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None


def speed_text(rate: float, unit: str) -> str:
    """``12 images/s``; of slow work the time that each takes, ``8 s each``."""
    if rate < 0.5:
        return f"{duration_text(1 / rate)} each"
    return f"{rate:,.{0 if rate >= 10 else 1}f} {unit}/s"


def duration_text(seconds: float) -> str:
    """A time in the largest unit of which there is more than one: ``40 s``, ``12 min``, ``5 h``, ``3 days``."""
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 1.95 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s"
