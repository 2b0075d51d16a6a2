"""What the id of a film looks like: a number, also as ``tt0084058``; it reads no file."""

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.storage.schemas import MAX_ID

# IMDb's own form, and what pandas makes of a column of numbers with missing values.
OTHER_FORMS = r"^[tT]{2}(\d+)$|^(\d+)\.0*$"


def movie_number(stem: str) -> int | None:
    """The id in the name of a poster without its suffix: ``84058``, ``0084058`` or ``tt0084058``; None in any other."""
    digits = stem[2:] if stem[:2].lower() == "tt" else stem
    if not (digits.isascii() and digits.isdigit()):
        return None
    significant = digits.lstrip("0")
    if len(significant) > len(str(MAX_ID)):  # also spares `int`, which refuses thousands of digits
        return None
    number = int(significant or "0")
    return number if number <= MAX_ID else None


def as_digits(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """``tt0084058`` and ``84058.0`` as digits; any other text is unchanged."""
    if pc.all(pc.ascii_is_decimal(ids)).as_py():  # an eighth of the time
        return ids
    return pc.replace_substring_regex(ids, OTHER_FORMS, r"\1\2")
