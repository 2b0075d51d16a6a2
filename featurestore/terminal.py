"""Escapes terminal output, so that it can't move the cursor, set the title or reorder text.

Titles, labels, file names and messages are untrusted text. Files and pipes get every character unchanged, in UTF-8
unless the variable PYTHONIOENCODING names another encoding.
"""

import codecs
import io
import os
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Used to lay out our own output: the only control characters that reach a terminal.
LAYOUT = "\n\t"


def visible(text: str, *, keep: str = "", spaces: bool = True) -> str:
    """``text`` with unprintable characters escaped, except those in ``keep`` and, if ``spaces``, Unicode spaces."""
    if text.isprintable():
        return text

    def stays(c: str) -> bool:
        return c.isprintable() or c in keep or (spaces and unicodedata.category(c) == "Zs")

    return "".join(c if stays(c) else ascii(c)[1:-1] for c in text)


def guard() -> None:
    """Escape all output to stdout and stderr from now on, if they are terminals; bytes too. Other output is UTF-8."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def unguarded(stream: TextIO) -> TextIO:
    """The terminal that ``stream`` wraps, for a progress bar that must move the cursor; else ``stream`` itself."""
    raw = getattr(stream, "buffer", None)
    return raw.terminal if isinstance(raw, _Visible) else stream


class _Visible(io.BufferedIOBase):
    """A buffer that escapes bytes for ``terminal``; a write may end within a multi-byte character."""

    def __init__(self, terminal: TextIO) -> None:
        super().__init__()
        self.terminal = terminal
        self.name = terminal.name
        self._decode = codecs.getincrementaldecoder(terminal.encoding)("backslashreplace").decode

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.terminal.fileno()

    def write(self, content: "ReadableBuffer", /) -> int:
        given = bytes(content)
        self.terminal.write(visible(self._decode(given), keep=LAYOUT))
        self.terminal.flush()
        return len(given)


def _guarded(stream: TextIO) -> TextIO:
    if stream is None or unguarded(stream) is not stream:
        return stream
    if not stream.isatty():
        _encode_all(stream)
        return stream
    return io.TextIOWrapper(
        _Visible(stream), encoding=stream.encoding, errors="backslashreplace", line_buffering=True, write_through=True
    )


def _encode_all(stream: TextIO) -> None:
    """Have a file or pipe take every character: on Windows, and on old systems, the usual encoding lacks most."""
    if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().replace("-", "").startswith("utf"):
        chosen = os.environ.get("PYTHONIOENCODING")
        stream.reconfigure(encoding=stream.encoding if chosen else "utf-8", errors="backslashreplace")
