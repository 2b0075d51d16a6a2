"""Writes text and tables as Markdown that shows them as they are: nothing becomes markup, HTML or a new line."""

import re
from collections.abc import Iterable, Sequence

from featurestore.display import plain

# What Markdown, its dialects with formulas, or HTML would take for more than text. An underscore within a word is
# none, nor is what compares numbers.
_SPECIAL = re.compile(r"([\\`*{}\[\]>|#!~&$^]|<(?=[A-Za-z/!?])|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def text(content: object) -> str:
    """``content`` in one line."""
    return _SPECIAL.sub(r"\\\1", plain(str(content)))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    """A table; the columns whose places are ``numbers`` are aligned to the right."""
    right = set(numbers)
    rule = ["--:" if place in right else "---" for place in range(len(header))]
    return "\n".join([_line(map(text, header)), f"|{'|'.join(rule)}|", *(_line(map(text, row)) for row in rows)])


def code(content: str) -> str:
    """Lines that are shown as they are, in a block that nothing in them ends."""
    lines = [plain(line) for line in content.split("\n")]
    fence = "`" * max([3, *(len(run) + 1 for line in lines for run in re.findall("`+", line))])
    return "\n".join([fence, *lines, fence])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
