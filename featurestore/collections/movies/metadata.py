"""Reads, checks and cleans the metadata file by the study's rules; it does not write to a store."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from featurestore.collections.movies.recipe import MOVIES_SCHEMA
from featurestore.collections.text_files import read_text
from featurestore.errors import MetadataError

# Column names as in the file, including spaces.
COLUMNS = ("imdbId", "Imdb Link", "Title", "IMDB Score", "Genre", "Poster")
STORED_NAMES = ("imdbId", "ImdbLink", "Title", "IMDBScore", "Genre", "Poster")


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
        ``utf-8`` or ``latin-1``.
    """

    movies: pa.Table
    rows_read: int
    duplicates: int
    conflicting: int
    encoding: str


def read_metadata(path: Path) -> Metadata:
    """Read a ``MovieGenre.csv`` or ``.csv.gz``, UTF-8 or latin-1.

    Raises
    ------
    MetadataError
        When it is missing, not a CSV, lacks a column, or holds an id or score that is not a number.
    """
    content, encoding = read_text(path)
    table = _parse(content, path)
    ids = _numbers(table, "imdbId", pa.int32(), path)
    if ids.null_count:
        raise MetadataError(f"{path}: row {_first(pc.is_null(ids))} has no imdbId: fill it in or remove the row")
    scores = _numbers(table, "IMDB Score", pa.float64(), path)
    table = table.set_column(0, "imdbId", ids).set_column(3, "IMDB Score", scores).rename_columns(STORED_NAMES)
    # A stable sort keeps the file's order among equal ids, so that the first row in the file wins.
    order = np.argsort(ids.to_numpy(), kind="stable")
    table = table.take(pa.array(order)).cast(MOVIES_SCHEMA)
    distinct, duplicates = _drop_identical(table)
    first_of_id = np.r_[True, np.diff(distinct["imdbId"].to_numpy()) != 0] if len(distinct) else np.zeros(0, bool)
    movies = distinct.filter(pa.array(first_of_id)).combine_chunks()
    return Metadata(movies, len(table), duplicates, len(distinct) - len(movies), encoding)


def _parse(content: bytes, path: Path) -> pa.Table:
    """All columns as text, in the order of `COLUMNS`; empty fields are null."""
    first_line = content[: content.index(b"\n")].split(b"\r")[0] + b"\n"
    try:
        header = csv.read_csv(
            pa.BufferReader(first_line),
            read_options=csv.ReadOptions(autogenerate_column_names=True),
            convert_options=csv.ConvertOptions(column_types={}),
        )
        names = [str(value) for value in header.to_pylist()[0].values()]
    except (pa.ArrowInvalid, IndexError) as error:
        raise MetadataError(f"{path}: the first line is not a CSV header ({error})") from error
    twice = [column for column in COLUMNS if names.count(column) > 1]
    if twice:
        raise MetadataError(f"{path}: the column {twice[0]!r} occurs more than once: rename or remove the other")
    missing = [column for column in COLUMNS if column not in names]
    if missing:
        raise MetadataError(
            f"{path}: the column {missing[0]!r} is missing; got {', '.join(names)[:200]}; expected {', '.join(COLUMNS)}"
        )
    try:
        return csv.read_csv(
            pa.BufferReader(content),
            read_options=csv.ReadOptions(block_size=max(1 << 20, len(content) + 1)),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                include_columns=list(COLUMNS),
                column_types=dict.fromkeys(COLUMNS, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        raise MetadataError(f"{path}: the file is not a valid CSV ({str(error)[:200]}): correct that line") from error


def _numbers(table: pa.Table, column: str, kind: pa.DataType, path: Path) -> pa.ChunkedArray:
    text = pc.utf8_trim_whitespace(table[column])
    pattern = r"^\d+$" if pa.types.is_integer(kind) else r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
    bad = pc.invert(pc.fill_null(pc.match_substring_regex(text, pattern), True))
    if not pc.any(bad).as_py():
        largest = 2.0**31 - 1 if pa.types.is_integer(kind) else np.finfo(np.float64).max
        bad = pc.fill_null(pc.greater(pc.abs(pc.cast(text, pa.float64())), largest), False)
    if pc.any(bad).as_py():
        row = _first(bad)
        value = table[column][row - 1].as_py()
        expected = "a whole number from 0 to 2147483647" if pa.types.is_integer(kind) else "a number"
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
