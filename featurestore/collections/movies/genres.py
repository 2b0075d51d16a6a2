"""Brings the genres of films to the one form that the store keeps, ``Comedy|Drama``; it reads no file."""

import json
import re

import pyarrow as pa
import pyarrow.compute as pc

# A list of texts as Python writes it; what JSON writes is read by its own library. Each place has one way to match.
ITEM = r"""(?:'([^'\\]*)'|"([^"\\]*)"|None|nan)"""
PYTHON_LIST = re.compile(rf"\[\s*(?:{ITEM}\s*(?:,\s*{ITEM}\s*)*)?\]")
TEXTS = re.compile(r"""'([^'\\]*)'|"([^"\\]*)\"""")
LONGEST_LIST = 10_000


def in_one_form(genres: pa.ChunkedArray) -> tuple[pa.ChunkedArray, tuple[str, ...]]:
    """Lists as text and comma-separated genres with ``|`` between them, and one sentence for each thing guessed.

    Commas separate genres only in a column without any ``|`` or list. Spaces around a genre are removed. A cell without
    a genre is null.

    Parameters
    ----------
    genres
        Text, null where there is none.
    """
    distinct = pc.unique(genres)  # some hundreds
    found, notes = pc.utf8_trim_whitespace(distinct), []
    if _any(pc.starts_with(found, "[")):
        texts, found = found, pa.array([_without_list(text) for text in found.to_pylist()], pa.string())
        if not found.equals(texts):
            notes.append("genres that are a list as text, such as \"['Comedy', 'Drama']\", are read as lists")
    elif _any(pc.match_substring(found, ",")) and not _any(pc.match_substring(found, "|")):
        found = pc.utf8_trim(pc.replace_substring_regex(found, r"\s*,[\s,]*", "|"), characters="|")
        notes.append("genres are separated by commas")
    found = _null_for_empty(pc.replace_substring_regex(found, r"\s*\|\s*", "|"))
    if not found.equals(distinct):
        genres = pc.take(found, pc.index_in(genres, value_set=distinct))
    return genres, tuple(notes)


def from_master_data(
    first: pa.ChunkedArray, second: pa.ChunkedArray, third: pa.ChunkedArray
) -> tuple[pa.ChunkedArray, tuple[str, ...]]:
    """The genres of films from the columns Genre1, Genre2 and Genre3 of the view `collection`, and what does not fit.

    The view splits the result into the same three columns. It replaces ``Short`` as the first genre by the second, so
    that both columns are equal: such a row gets its ``Short`` again. Only a row with ``Short`` as Genre1 and another
    Genre2, which the view never has, is not the same afterwards.
    """
    first, second, third = (pc.utf8_trim_whitespace(pc.fill_null(column, "")) for column in (first, second, third))
    same = pc.equal(first, second)
    replaced = pc.and_(same, pc.not_equal(first, ""))
    joined = pc.binary_join_element_wise(pc.if_else(replaced, "Short", first), second, third, "|")
    differ = pc.sum(pc.and_not(pc.equal(first, "Short"), same), min_count=0).as_py()
    note = f"{differ:,} rows have Short as Genre1: the view `collection` takes Genre2 in its place"
    return _null_for_empty(pc.utf8_rtrim(joined, characters="|")), (note,) if differ else ()


def _without_list(text: str | None) -> str | None:
    """The items of a list as text with ``|`` between them; any other text is unchanged."""
    if text is None or not text.startswith("[") or len(text) > LONGEST_LIST:
        return text
    if PYTHON_LIST.fullmatch(text):
        items = ["".join(pair) for pair in TEXTS.findall(text)]
    else:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):  # not a list: a genre that begins with a bracket
            return text
        items = [item for item in found if item is not None]
        if not all(isinstance(item, str) and item.isprintable() for item in items):
            return text
    return "|".join(filter(None, (item.strip() for item in items)))


def _null_for_empty(texts: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _any(mask: pa.Array) -> bool:
    return bool(pc.any(mask).as_py())
