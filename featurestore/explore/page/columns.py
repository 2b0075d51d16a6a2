"""Columns of `collection` in the order of the page's images: levels with codes, or numbers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore import arrow
from featurestore.errors import InputError
from featurestore.explore.page.shown import image_ids, make_room, places_of
from featurestore.storage.names import nearest, quote_name

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

VIEW = "collection"
Kind = Literal["number", "text", "list", "time"]
# Levels with a name, unless the page asks for another number; whole numbers with no more than these are levels too.
LEVELS = 12
MOST_LEVELS = 1000
OTHER = "other"
# How many columns are kept in memory, and how their names begin there.
KEPT, VALUES = 32, "column of the page "


@dataclass(frozen=True)
class ColumnOfPage:
    """A column of `collection`: its name, what it holds, and how many distinct values."""

    name: str
    kind: Kind
    distinct: int


@dataclass(frozen=True)
class Levels:
    """The values of a column as codes of their names.

    Parameters
    ----------
    names
        The most frequent first, ties in the order of their text; at most `MOST_LEVELS`.
    codes
        Indices into ``names``, its length for a value without a name there, -1 for none; int32.
    images
        Of each code the place of its image; an image of a list has several.
    """

    names: tuple[str, ...]
    codes: NDArray[np.int32]
    images: NDArray[np.intp]


def columns(store: "Explorer") -> dict[str, ColumnOfPage]:
    """The columns that the page can show, by name, in the order of the view."""
    return store.remember("columns of the page", lambda: _columns(store))


def _columns(store: "Explorer") -> dict[str, ColumnOfPage]:
    schema = store.query(f"FROM {VIEW} LIMIT 0").schema
    kinds = {name: _kind(schema.field(name).type) for name in schema.names if name != "ImgId"}
    shown = {name: kind for name, kind in kinds.items() if kind is not None}
    counts = [f"count(DISTINCT {quote_name(name)}) AS {quote_name(name)}" for name in shown]
    row = store.query(f"SELECT count(*) AS {quote_name('ImgId')}, {', '.join(counts)} FROM {VIEW}").to_pylist()[0]
    return {name: ColumnOfPage(name, kind, row[name]) for name, kind in shown.items()}


def _kind(kind: pa.DataType) -> Kind | None:
    """What a column of this Arrow type is to the page; None for one that it doesn't show, such as bytes."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "time"
    if _is_text(kind):
        return "text"
    listed = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return "list" if listed and _is_text(kind.value_type) else None


def _is_text(kind: pa.DataType) -> bool:
    """Whether it is text or a truth value; also DuckDB's enumerations."""
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)


def column(store: "Explorer", name: str) -> ColumnOfPage:
    """The column ``name``; raises `InputError` if there is none."""
    have = columns(store)
    if name not in have:
        raise InputError(f"there is no column {name[:80]!r} ({nearest(name, have)})")
    return have[name]


def levels_or_numbers(store: "Explorer", name: str) -> Levels | NDArray[np.float32]:
    """The values of a column: levels, or ``(n,)`` float32 with NaN for none, times as days since 1970."""
    shown = column(store, name)
    found = store.remember(VALUES + name, lambda: _values(store, shown))
    make_room(store, VALUES, name, most=KEPT, size=lambda _: 1)
    return found


def _values(store: "Explorer", shown: ColumnOfPage) -> Levels | NDArray[np.float32]:
    value = quote_name(shown.name)
    whole = shown.kind == "number" and pa.types.is_integer(
        store.query(f"SELECT {value} FROM {VIEW} LIMIT 0").schema.field(0).type
    )
    if shown.kind == "time":
        value = f"epoch({value}::TIMESTAMP) / 86400"
    elif shown.kind == "number" and not (shown.name == store.label or (whole and shown.distinct <= LEVELS)):
        value = f"{value}::DOUBLE"
    elif shown.kind == "list":
        return _levels(store, f"SELECT ImgId, unnest({value})::VARCHAR AS value FROM {VIEW} ORDER BY ImgId")
    else:
        return _levels(store, f"SELECT ImgId, {value}::VARCHAR AS value FROM {VIEW} ORDER BY ImgId")
    rows = store.query(f"SELECT ImgId, {value} AS value FROM {VIEW}")
    places, there = places_of(store, arrow.to_numpy(rows["ImgId"]))
    numbers = np.full(len(image_ids(store)), np.nan, np.float32)
    given = arrow.to_numpy(pc.fill_null(rows["value"].cast(pa.float64()), np.nan))
    numbers[places[there]] = given[there]
    numbers[np.isinf(numbers)] = np.nan
    return numbers


def _levels(store: "Explorer", query: str) -> Levels:
    """The rows ``ImgId, value`` of a query, with text as the value, as levels; blank text is none."""
    rows = store.query(query)
    places, there = places_of(store, arrow.to_numpy(rows["ImgId"]))
    coded = arrow.one_chunk(rows["value"]).dictionary_encode()
    names: list[Any] = coded.dictionary.to_pylist()
    codes = arrow.to_numpy(pc.fill_null(coded.indices, len(names)))
    blank = [number for number, text in enumerate(names) if not text.strip()]
    there = there & (codes < len(names)) & ~np.isin(codes, blank)
    codes, places = codes[there], places[there]
    counts = np.bincount(codes, minlength=len(names))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda number: (-counts[number], names[number]))
    new = np.full(max(len(names), 1), min(len(order), MOST_LEVELS), np.int32)
    named = order[:MOST_LEVELS]
    new[named] = np.arange(len(named), dtype=np.int32)
    return Levels(tuple(names[number] for number in named), new[codes], places)


def first_codes(found: Levels, count: int, most: int) -> tuple[list[str], NDArray[np.int16]]:
    """The names of at most ``most`` levels, and of each of ``count`` images the code of its first value.

    If there are more levels, the rest is one more level, `OTHER`; -1 stands for no value.
    """
    names = list(found.names[:most])
    codes = np.full(count, -1, np.int16)
    images, first = np.unique(found.images, return_index=True)
    codes[images] = np.minimum(found.codes[first], len(names))
    return names + [OTHER] * bool((codes == len(names)).any()), codes
