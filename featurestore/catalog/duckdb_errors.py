"""What DuckDB says of an error as one short sentence, with its hints and the place in the query."""

import json
from typing import Any

# Of somebody else's words: a query may make them as long as it likes.
WORDS = 1000
EXCERPT = 40


def words(error: BaseException, query: str = "", *, prefix: str = "") -> str:
    """What ``error`` says, in one line.

    Parameters
    ----------
    query
        The text that was run; where DuckDB tells the place of the error (a connection with ``errors_as_json`` does),
        that part of it is quoted.
    prefix
        What stood before ``query`` when it was run.
    """
    kind, _, rest = str(error).partition(": ")
    try:
        record = json.loads(rest)
        message = f"{kind}: {record['exception_message']}"
    except (ValueError, TypeError, KeyError):  # no record, but a sentence
        record, message = {}, str(error)
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return shortened(" ".join(lines) or type(error).__name__) + place(record, query, prefix=prefix)


def place(record: dict[str, Any], query: str, *, prefix: str = "") -> str:
    """``(at character N: …)``, where ``record`` of an error tells a place, and it lies in ``query``.

    Of an error within a macro or a view, the place is one in the text of that: it is left out.
    """
    text = query.encode()
    position = int(record.get("position", -1)) - len(prefix.encode())
    if not 0 <= position < len(text):
        return ""
    before, after = (part.decode("utf-8", "ignore") for part in (text[:position], text[position:]))
    name = str(record.get("name", ""))
    if name.lower() not in after[: len(name) + EXCERPT].lower():
        return ""
    return f" (at character {len(before) + 1}: {shortened(' '.join(after[: 4 * EXCERPT].split()), EXCERPT)})"


def shortened(text: str, length: int = WORDS) -> str:
    """``text``, cut where it is longer than ``length``."""
    return text if len(text) <= length else f"{text[: length - 2]} …"
