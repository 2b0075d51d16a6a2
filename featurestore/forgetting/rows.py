"""Which rows of a table are of an image, by the columns that name it, and the table without them; it reads no files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, one_chunk, to_numpy
from featurestore.catalog.package_tables import PackageTable, package_tables
from featurestore.catalog.recipe import Collection
from featurestore.collections.general.table_rows import AMBIGUOUS, NO_IMAGE
from featurestore.collections.matching import match
from featurestore.collections.name_forms import cleaned, without_extension
from featurestore.collections.numbering import FORGOTTEN
from featurestore.forgetting.images import TABLE, WantedImages
from featurestore.storage.names import revision_of
from featurestore.storage.schemas import CORE_TABLES, IMAGES

# Columns of any table that name an image, in lower case: by its number, or by its name or bytes.
NUMBER, NAME, CONTENT = "imgid", "imgname", "content_hash"
# The columns of rows of metadata that no image has, see `collections.general.recipe`.
KEY, PROBLEM = "RowKey", "RowProblem"


@dataclass(frozen=True)
class NamingColumns:
    """The columns of one table that name images.

    Parameters
    ----------
    numbers
        Columns with an ImgId, whatever their type.
    names, contents
        Columns with a name or a content hash; they count where no column of ``numbers`` has a value.
    lists
        Columns with lists of ImgIds.
    keyed
        Whether `KEY` and `PROBLEM` tell which image a row without an ImgId was meant for.
    """

    numbers: tuple[str, ...]
    names: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    keyed: bool = False

    @property
    def all(self) -> list[str]:
        """The columns that are to be read."""
        found = [*self.numbers, *self.names, *self.contents, *self.lists, *((KEY, PROBLEM) if self.keyed else ())]
        return list(dict.fromkeys(found))

    @property
    def by_range(self) -> bool:
        """Whether a part outside of whose range of ImgIds they all lie names none of them."""
        return self.all == ["ImgId"]


def naming_columns(table: str, schema: pa.Schema, recipe: Collection | None) -> NamingColumns:
    """The columns of ``table`` by which its rows name images; empty for a table that names none."""
    if revision_of(table) is not None or table in CORE_TABLES:
        return NamingColumns(("ImgId",) if "ImgId" in schema.names else ())
    metadata = recipe is not None and recipe.table == table
    key = recipe.key if recipe is not None and metadata and recipe.key_number else None
    flat = [field.name for field in schema if not pa.types.is_nested(field.type)]
    known = _known_tables().get(table)
    named = known.img_ids if known else ()
    return NamingColumns(
        numbers=tuple(name for name in flat if name.lower() == NUMBER or name == key),
        names=tuple(name for name in flat if name.lower() == NAME),
        contents=tuple(name for name in flat if name.lower() == CONTENT),
        lists=tuple(field.name for field in schema if _is_list(field) and _names_images(field.name, named)),
        keyed=metadata and {KEY, PROBLEM} <= set(schema.names),
    )


def _is_list(field: pa.Field) -> bool:
    kind = field.type
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and not pa.types.is_nested(kind.value_type)


def _names_images(column: str, named: Sequence[str]) -> bool:
    return column in named or column.lower() in (NUMBER, f"{NUMBER}s")


@cache
def _known_tables() -> dict[str, PackageTable]:
    """`package_tables`, looked up once a process."""
    return package_tables()


def rows_of_images(table: str, rows: pa.Table, columns: NamingColumns, wanted: WantedImages) -> NDArray[np.bool_]:
    """Which of ``rows`` are of the ``wanted`` images: ``(n,)`` bool."""
    found, numbered = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    for name in columns.numbers:
        values = _flat(rows[name])
        found |= _is_in(values, wanted.ids)
        numbered |= to_numpy(pc.is_valid(values))
    for names, texts in ((columns.names, wanted.names), (columns.contents, wanted.hashes)):
        for name in names if texts else ():
            found |= _is_in(_flat(rows[name]), pa.array(sorted(texts), pa.string())) & ~numbered
    if columns.keyed:
        found |= _meant_for(rows, wanted) & ~numbered
    if table == TABLE and "status" in rows.column_names:
        found &= ~to_numpy(pc.equal(rows["status"], FORGOTTEN))
    return found


def listed(rows: pa.Table, columns: NamingColumns, wanted: WantedImages) -> NDArray[np.bool_]:
    """Which of ``rows`` have one of the ``wanted`` images in a list: ``(n,)`` bool."""
    found = np.zeros(len(rows), bool)
    for name in columns.lists:
        column = one_chunk(rows[name])
        found[to_numpy(pc.list_parent_indices(column))[_is_in(pc.list_flatten(column), wanted.ids)]] = True
    return found


def ids_in(rows: pa.Table, columns: NamingColumns, wanted: WantedImages) -> set[int]:
    """Those of the ``wanted`` ids that ``rows`` name by number."""
    found: set[int] = set()
    numbers = [_flat(rows[name]) for name in columns.numbers]
    for values in [*numbers, *(pc.list_flatten(one_chunk(rows[name])) for name in columns.lists)]:
        found |= {int(float(value)) for value in values.filter(from_numpy(_is_in(values, wanted.ids))).to_pylist()}
    return found


def rest_of(
    table: str, rows: pa.Table, columns: NamingColumns, wanted: WantedImages, *, keep_numbers: bool
) -> pa.Table:
    """``rows`` without those of the ``wanted`` images; in a list, null takes the place of their ImgIds.

    Parameters
    ----------
    keep_numbers
        Whether the table `images` keeps a row with the number of each, so that it is given to no other image.
    """
    found = rows_of_images(table, rows, columns, wanted)
    left = rows.filter(from_numpy(~found)).replace_schema_metadata(None)
    for name in columns.lists:
        place = left.schema.get_field_index(name)
        left = left.set_column(place, left.schema.field(name), _without_listed(one_chunk(left[name]), wanted))
    if table == TABLE and keep_numbers:
        numbers = pc.drop_null(rows.filter(from_numpy(found))["ImgId"]).unique().to_pylist()
        left = pa.concat_tables([left, forgotten_rows(numbers)]).sort_by("ImgId")
    return left.combine_chunks()


def forgotten_rows(numbers: Sequence[int]) -> pa.Table:
    """The rows of `images` that stay of forgotten images: their numbers alone."""
    blank = dict.fromkeys(("content_hash", "source", "file", "member"), "")
    rows = [
        {**dict.fromkeys(IMAGES.names), **blank, "ImgId": number, "ImgName": f"forgotten image {number}"}
        | {"size_bytes": 0, "status": FORGOTTEN, "synthetic": False}
        for number in numbers
    ]
    return pa.Table.from_pylist(rows, schema=IMAGES)


def _without_listed(column: pa.ListArray, wanted: WantedImages) -> pa.ListArray:
    """``column`` with null in place of the wanted ids: other columns may hold something for each place."""
    values = pc.list_flatten(column)
    left = pc.if_else(from_numpy(_is_in(values, wanted.ids)), pa.scalar(None, values.type), values)
    lengths = to_numpy(pc.fill_null(pc.list_value_length(column), 0)).astype(np.int64)
    offsets = from_numpy(
        np.append(0, np.cumsum(lengths)).astype(np.int32 if pa.types.is_list(column.type) else np.int64)
    )
    return type(column).from_arrays(offsets, left, type=column.type, mask=pc.is_null(column))


def _meant_for(rows: pa.Table, wanted: WantedImages) -> NDArray[np.bool_]:
    """Which of the rows of metadata that no image has were meant for one of the ``wanted``."""
    found = np.zeros(len(rows), bool)
    keys, problems = rows[KEY].to_pylist(), rows[PROBLEM].to_pylist()
    places = [row for row, problem in enumerate(problems) if problem is not None and keys[row]]
    if not places or not wanted.names:
        return found
    mine = sorted(wanted.names)
    exact = {*mine, *map(without_extension, mine)}
    # As the ingest has matched them; a key that fits several images may be meant for any of them.
    several = [row for row in places if problems[row] == AMBIGUOUS]
    again = [row for row in places if problems[row] not in (AMBIGUOUS, NO_IMAGE)]
    alone = match([keys[row] for row in several], mine)
    matched = match([keys[row] for row in again], [*mine, *wanted.others]).places
    for place, row in enumerate(several):
        found[row] = alone.places[place] >= 0 or place in alone.ambiguous
    for place, row in enumerate(again):
        found[row] = 0 <= matched[place] < len(mine)
    for row in places:
        found[row] |= problems[row] == NO_IMAGE and cleaned(keys[row]) in exact
    return found


def _flat(column: pa.ChunkedArray) -> pa.Array:
    values = one_chunk(column)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _is_in(values: pa.Array, wanted: pa.Array) -> NDArray[np.bool_]:
    """Which of ``values``, of any type, are equal to one of ``wanted``."""
    kind = values.type
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind):  # they can't name an image
        return np.zeros(len(values), bool)
    if pa.types.is_decimal(kind):
        values = values.cast(pa.float64())
    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    try:
        values = values if is_number else values.cast(pa.string())
    except pa.ArrowException:  # bytes that are no text
        return np.zeros(len(values), bool)
    wanted = wanted if is_number else wanted.cast(pa.string())
    kind = pa.float64() if pa.types.is_floating(values.type) else wanted.type
    return to_numpy(pc.is_in(values.cast(kind, safe=False), value_set=wanted.cast(kind), skip_nulls=True))
