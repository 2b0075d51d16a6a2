"""Escapes text for people, so that it can't move the cursor, set the title, reorder or hide text.

Titles, labels, file names and messages are untrusted text. What is written as text is escaped wherever it goes, since
`less` and `cat` hand it on to a terminal. What is written as bytes, such as CSV, is escaped on a terminal alone: files
and pipes get every byte unchanged. Their text is in UTF-8 unless the variable PYTHONIOENCODING names another encoding.
"""

import codecs
import io
import os
import sys
import unicodedata
from typing import TYPE_CHECKING, TextIO, cast

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Used to lay out our own output: the only control characters that reach a terminal.
LAYOUT = "\n\t"
WINDOWS = sys.platform == "win32"


# Letters and marks that are printable and show nothing.
BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0")
# How many marks one letter may carry, far more than any language needs; a storm of them covers other lines.
MARKS = 8


def visible(text: str, *, keep: str = "", spaces: bool = True) -> str:
    """``text`` with all escaped that is unprintable or invisible, except ``keep`` and, if ``spaces``, Unicode spaces.

    Of the marks on one letter the first `MARKS` stay.
    """
    if text.isascii() and text.isprintable():
        return text
    shown, marks = [], 0
    for c in text:
        kind = unicodedata.category(c)
        marks = marks + 1 if kind in ("Mn", "Me") else marks if kind == "Cf" else 0
        stays = (c.isprintable() and marks <= MARKS and c not in BLANK) or c in keep or (spaces and kind == "Zs")
        shown.append(c if stays else ascii(c)[1:-1])
    return "".join(shown)


def guard() -> None:
    """Escape all text for stdout and stderr from now on; where they are terminals, bytes too."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def unguarded(stream: TextIO) -> TextIO:
    """What ``stream`` guards, for a progress bar that must move the cursor; ``stream`` itself if it guards nothing."""
    if isinstance(stream, _PlainText):
        return stream.stream
    raw = getattr(stream, "buffer", None)
    return raw.terminal if isinstance(raw, _Visible) else stream


class _Visible(io.BufferedIOBase):
    """A buffer that escapes bytes for ``terminal``; a write may end within a multi-byte character."""

    def __init__(self, terminal: TextIO) -> None:
        super().__init__()
        self.terminal = terminal
        self.name = terminal.name
        self._own: int | None = None
        self._decode = codecs.getincrementaldecoder(terminal.encoding)("backslashreplace").decode

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        descriptor = self.terminal.fileno()
        if WINDOWS and descriptor in (1, 2):  # of these click writes to the console by itself, past this
            self._own = os.dup(descriptor) if self._own is None else self._own
            return self._own
        return descriptor

    def write(self, content: "ReadableBuffer", /) -> int:
        given = bytes(content)
        self.terminal.write(visible(self._decode(given), keep=LAYOUT))
        self.terminal.flush()
        return len(given)


class _PlainText(io.TextIOBase):
    """Text on its way to a file or a pipe; ``buffer`` takes bytes as they are."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        _encode_all(stream)
        self.buffer = stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return self.stream.encoding

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.stream.fileno()

    def write(self, text: str, /) -> int:
        self.stream.write(visible(text, keep=LAYOUT))
        return len(text)

    def flush(self) -> None:
        self.stream.flush()


def _guarded(stream: TextIO) -> TextIO:
    if stream is None or unguarded(stream) is not stream:
        return stream
    if not stream.isatty():
        return cast(TextIO, _PlainText(stream)) if hasattr(stream, "buffer") else stream
    return io.TextIOWrapper(
        _Visible(stream), encoding=stream.encoding, errors="backslashreplace", line_buffering=True, write_through=True
    )


def _encode_all(stream: TextIO) -> None:
    """Have a file or pipe take every character: on Windows, and on old systems, the usual encoding lacks most."""
    if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().replace("-", "").startswith("utf"):
        chosen = os.environ.get("PYTHONIOENCODING")
        stream.reconfigure(encoding=stream.encoding if chosen else "utf-8", errors="backslashreplace")
