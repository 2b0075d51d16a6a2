"""What a command does when it is told to stop: once, however often, so that it can put away what it has begun."""

import signal
import time
from types import FrameType

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
        for name in _NAMES:
            if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN:
                signal.signal(getattr(signal, name), self._came)

    def _came(self, number: int, frame: FrameType | None) -> None:
        if time.monotonic() - self._last > SECONDS:
            self._last, self.number = time.monotonic(), number
            raise KeyboardInterrupt
