"""Reads, checks and cleans the metadata file by the study's rules; it does not write to a store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from featurestore.collections.movies.columns import MASTER_GENRES, STORED_NAMES, find_columns
from featurestore.collections.movies.genres import from_master_data, in_one_form
from featurestore.collections.movies.ids import as_digits
from featurestore.collections.movies.recipe import MOVIES_SCHEMA
from featurestore.collections.text_files import read_text
from featurestore.errors import MetadataError

NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class Metadata:
    """The cleaned table and the number of rows that were dropped.

    Parameters
    ----------
    movies
        Schema `MOVIES_SCHEMA`, one row per ``imdbId``, ascending.
    rows_read, duplicates, conflicting
        Rows of the file, identical rows dropped, and rows dropped because an earlier one has the same id.
    encoding
        ``utf-8`` or ``cp1252``.
    notes
        One sentence for each thing that was guessed or is absent.
    """

    movies: pa.Table
    rows_read: int
    duplicates: int
    conflicting: int
    encoding: str
    notes: tuple[str, ...] = ()


def read_metadata(path: Path, *, columns: Mapping[str, str] = {}) -> Metadata:
    """Read a table of films, such as ``MovieGenre.csv`` or the study's ``MasterData.csv``, also ``.gz``.

    The id and the genre are needed; other columns that are missing are null. Ids may be ``tt0084058`` or ``84058.0``,
    genres a list as text or separated by commas.

    Parameters
    ----------
    columns
        The file's names of columns by their stored names, as ``{"imdbId": "Id"}``; for those that are named otherwise.

    Raises
    ------
    MetadataError
        When it is missing, not a CSV, lacks a column, or holds an id or score that is not a number.
    InputError
        When ``columns`` has a key that is no stored name.
    """
    content, encoding = read_text(path)
    found = find_columns(_header(content, path), path, asked=columns)
    table, notes = _typed(_parse(content, path, found.places.values()), found.places, path)
    notes = found.notes + notes
    # A stable sort keeps the file's order among equal ids, so that the first row in the file wins.
    order = np.argsort(table["imdbId"].to_numpy(), kind="stable")
    table = table.take(pa.array(order)).cast(MOVIES_SCHEMA)
    distinct, duplicates = _drop_identical(table)
    first_of_id = np.r_[True, np.diff(distinct["imdbId"].to_numpy()) != 0] if len(distinct) else np.zeros(0, bool)
    movies = distinct.filter(pa.array(first_of_id))
    if "Genre" in found.places:
        genres, guessed = in_one_form(movies["Genre"])
        movies = movies.set_column(STORED_NAMES.index("Genre"), MOVIES_SCHEMA.field("Genre"), genres)
        notes += guessed
    if encoding != "utf-8":
        notes += (f"the text is not UTF-8, and is read as {encoding}",)
    return Metadata(movies.combine_chunks(), len(table), duplicates, len(distinct) - len(movies), encoding, notes)


def _header(content: bytes, path: Path) -> list[str]:
    """The names of the columns."""
    first_line = content[: content.index(b"\n")].split(b"\r")[0] + b"\n"
    try:
        return csv.read_csv(pa.BufferReader(first_line)).column_names
    except pa.ArrowInvalid as error:
        raise MetadataError(f"{path}: the first line is not a CSV header ({error})") from error


def _parse(content: bytes, path: Path, columns: Iterable[str]) -> pa.Table:
    """The named columns as text; empty fields are null."""
    wanted = list(dict.fromkeys(columns))
    try:
        return csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(block_size=max(1 << 20, len(content) + 1)),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        raise MetadataError(f"{path}: the file is not a valid CSV ({str(error)[:200]}): correct that line") from error


def _typed(texts: pa.Table, places: Mapping[str, str], path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """The columns of `MOVIES_SCHEMA` from those of the file, by their names in ``places``, and notes as in `Metadata`.

    A column that the file does not have is null.
    """
    found = {name: texts[column] for name, column in places.items()}
    ids = as_digits(pc.utf8_trim_whitespace(found["imdbId"]))
    found["imdbId"] = _numbers(ids, found["imdbId"], places["imdbId"], pa.int32(), path)
    if found["imdbId"].null_count:
        row = _first(pc.is_null(found["imdbId"]))
        raise MetadataError(f"{path}: row {row} has no {places['imdbId']}: fill it in or remove the row")
    if "IMDBScore" in found:
        scores = pc.utf8_trim_whitespace(found["IMDBScore"])
        found["IMDBScore"] = _numbers(scores, found["IMDBScore"], places["IMDBScore"], pa.float64(), path)
    notes: tuple[str, ...] = ()
    absent = pa.chunked_array([pa.nulls(len(texts), pa.string())])
    if "Genre" not in found:
        for name in MASTER_GENRES:
            _refuse_several(found.get(name, absent), name, path)
        found["Genre"], notes = from_master_data(*(found.get(name, absent) for name in MASTER_GENRES))
    return pa.table({name: found.get(name, absent) for name in STORED_NAMES}), notes


def _refuse_several(genres: pa.ChunkedArray, column: str, path: Path) -> None:
    several = pc.match_substring(genres, "|")
    if pc.any(several).as_py():
        row = _first(several)
        raise MetadataError(
            f"{path}: row {row} has {genres[row - 1].as_py()[:40]!r} as {column}; expected one genre: split it, or "
            f"read the column with --column Genre={column}"
        )


def _numbers(
    text: pa.ChunkedArray, written: pa.ChunkedArray, column: str, kind: pa.DataType, path: Path
) -> pa.ChunkedArray:
    """The numbers in ``text``; a message shows the value as it is ``written`` in the file."""
    whole = pa.types.is_integer(kind)
    good = pc.ascii_is_decimal(text) if whole else pc.match_substring_regex(text, NUMBER)
    bad = pc.invert(pc.fill_null(good, True))
    if not pc.any(bad).as_py():
        largest = 2.0**31 - 1 if whole else np.finfo(np.float64).max
        bad = pc.fill_null(pc.greater(pc.abs(pc.cast(text, pa.float64())), largest), False)
    if pc.any(bad).as_py():
        row = _first(bad)
        value = written[row - 1].as_py()
        expected = "a whole number from 0 to 2147483647" if whole else "a number"
        raise MetadataError(f"{path}: row {row} has {value[:40]!r} as {column}; expected {expected}: correct that row")
    return pc.cast(text, kind)


def _first(mask: pa.ChunkedArray) -> int:
    """The 1-based data row of the first true value."""
    return pc.index(mask, True).as_py() + 1


def _drop_identical(table: pa.Table) -> tuple[pa.Table, int]:
    """Drop repeated rows of a ``table`` that is sorted by id, keeping the first, and return how many were dropped."""
    ids = table["imdbId"].to_numpy()
    again = ids[1:] == ids[:-1]
    shared = np.flatnonzero(np.r_[again, False] | np.r_[False, again])  # only rows of one id can be equal
    numbered = table.take(pa.array(shared)).append_column("_row", pa.array(shared))
    first = numbered.group_by(table.column_names).aggregate([("_row", "min")])["_row_min"].to_numpy()
    kept = np.ones(len(table), bool)
    kept[shared], kept[first] = False, True
    return table.filter(pa.array(kept)), int((~kept).sum())
