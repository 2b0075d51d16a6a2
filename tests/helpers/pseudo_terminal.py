"""A terminal for tests: what a command writes to stdout and stderr while both are one, byte for byte."""

import os
import pty
import sys
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def pseudo_terminal() -> Iterator[bytearray]:
    """While open, `sys.stdout` and `sys.stderr` are terminals; what they were given is whole when it closes."""
    shown = bytearray()
    ours, theirs = pty.openpty()
    tty.setraw(theirs)  # else every line end comes back as two characters

    def read() -> None:
        while True:
            try:
                shown.extend(os.read(ours, 1 << 16))
            except OSError:  # the last one who could write is gone
                return

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with (
            os.fdopen(os.dup(theirs), "w", encoding="utf-8") as out,
            os.fdopen(theirs, "w", encoding="utf-8") as err,
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            yield shown
    finally:
        reader.join()
        os.close(ours)
