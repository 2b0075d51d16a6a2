"""What a terminal is shown: text, and nothing in it that moves a cursor, sets a title or reorders what stands there.

Titles, labels, file names and messages are chosen by somebody else. Files and pipes get every byte as it is.
"""

import codecs
import io
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# What lays out our own output: the only control characters that reach a terminal.
LAYOUT = "\n\t"


def visible(text: str, *, keep: str = "", spaces: bool = True) -> str:
    """``text`` with what is not printable escaped, except the characters in ``keep`` and ``spaces`` of any width."""
    if text.isprintable():
        return text

    def stays(c: str) -> bool:
        return c.isprintable() or c in keep or (spaces and unicodedata.category(c) == "Zs")

    return "".join(c if stays(c) else ascii(c)[1:-1] for c in text)


def guard() -> None:
    """From now on stdout and stderr show text only, where they are terminals: also what is written as bytes."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def unguarded(stream: TextIO) -> TextIO:
    """The terminal behind ``stream``, for a progress bar that has to move the cursor; else ``stream`` itself."""
    raw = getattr(stream, "buffer", None)
    return raw.terminal if isinstance(raw, _Visible) else stream


class _Visible(io.BufferedIOBase):
    """Bytes on their way to ``terminal``; a write may end within a character."""

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
    if stream is None or not stream.isatty() or unguarded(stream) is not stream:
        return stream
    return io.TextIOWrapper(
        _Visible(stream), encoding=stream.encoding, errors="backslashreplace", line_buffering=True, write_through=True
    )
