"""What a command does when it is told to stop: once, however often, so that it can put away what it has begun."""

import signal
import time
from types import FrameType
from typing import Any

# Seconds after one interrupt in which another has no effect: the first is being obeyed.
SECONDS = 5.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interrupts:
    """Has Ctrl-C, a `kill` and a closed terminal raise `KeyboardInterrupt`; ``number`` is the signal that did."""

    def __init__(self) -> None:
        self.number = int(signal.SIGINT)
        self._last = float("-inf")

    def install(self) -> None:
        """From now on, for the signals that this process does not ignore, as one below `nohup` does."""
        self._handle(self._came)

    def ignore(self) -> None:
        """From now on: all is said, and there is nothing left to stop."""
        self._handle(signal.SIG_IGN)

    def _handle(self, handler: Any) -> None:
        for name in _NAMES:
            number = getattr(signal, name, None)  # Windows has two of them
            if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
                signal.signal(number, handler)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() - self._last > SECONDS:
            self._last, self.number = time.monotonic(), number
            raise KeyboardInterrupt
