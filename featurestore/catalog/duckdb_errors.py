"""Turns an error of DuckDB into one short sentence, with DuckDB's hints and the position in the query."""

import json
import re
from typing import Any

# Length of a message: a query can make DuckDB's messages arbitrarily long.
WORDS = 1000
EXCERPT = 40
_PLACE = re.compile(r"(.*) \(at character (\d+): .*\)", re.DOTALL)


def words(error: BaseException, query: str = "", *, prefix: str = "") -> str:
    """The message of ``error`` in one line.

    Parameters
    ----------
    query
        The text that was run; where DuckDB reports the position of the error (as with ``errors_as_json``), the text at
        that position is quoted.
    prefix
        The text that preceded ``query`` when it was run.
    """
    kind, _, rest = str(error).partition(": ")
    try:
        record = json.loads(rest)
        message = f"{kind}: {record['exception_message']}"
    except (ValueError, TypeError, KeyError):  # not JSON: a plain message
        record, message = {}, str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return shortened(" ".join(lines) or type(error).__name__) + place(record, query, prefix=prefix)


def place(record: dict[str, Any], query: str, *, prefix: str = "") -> str:
    """``(at character N: the rest of the line)`` if the ``record`` holds a position within ``query``, else empty.

    For an error inside a macro or view, the position refers to the text of that and is left out.
    """
    text = query.encode()
    position = int(record.get("position", -1)) - len(prefix.encode())
    if not 0 <= position < len(text):
        return ""
    before, after = (part.decode("utf-8", "ignore") for part in (text[:position], text[position:]))
    name = str(record.get("name", ""))
    if name.lower() not in after[: len(name) + EXCERPT].lower():
        return ""
    line = " ".join(after[: 4 * EXCERPT].partition("\n")[0].split())
    return f" (at character {len(before) + 1}: {shortened(line, EXCERPT)})"


def within(message: str, text: str, *, prefix: str) -> str:
    """``message``, as `words` made it, with its position counted in ``text``, which followed ``prefix`` when run."""
    found = _PLACE.fullmatch(message)
    if found is None:
        return message
    start = int(found[2]) - len(prefix)
    if not 1 <= start <= len(text):  # what closes the query is no text of the user's
        return f"{found[1]} (at the end)" if start > len(text) else found[1]
    return f"{found[1]} (at character {start}: {message[found.end(2) + 2 :]}"


def shortened(text: str, length: int = WORDS) -> str:
    """``text``, truncated to ``length`` characters."""
    return text if len(text) <= length else f"{text[: length - 2]} …"
