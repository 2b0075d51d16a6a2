"""Reads a table of metadata, of any of the usual kinds, and says in notes what it guessed; it writes nothing."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.collections.column_types import storable, typed
from featurestore.collections.containers.image_table import decoded_bytes
from featurestore.collections.json_tables import looks_like_json, parse_json
from featurestore.collections.limits import MAX_COLUMNS, MAX_ROWS
from featurestore.collections.limits import MAX_TABLE_BYTES as MAX_BYTES
from featurestore.collections.text_files import as_text, read_content
from featurestore.collections.text_tables import split_text
from featurestore.errors import MetadataError, reason

# Names of columns that a store gives its own meaning, in lower case.
RESERVED_COLUMNS = frozenset({"imgid", "imgname", "embedding", "duplicate_group", "rowkey", "rowproblem", "rowdetail"})
# How pandas calls an index that has no name, once it was written and read.
INDEX_NAME = re.compile(r"|Unnamed: [0-9]+(\.[0-9]+)?")
PARQUET_INDEX = "__index_level_0__"
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
MAX_NAME = 200


@dataclass(frozen=True)
class ReadTable:
    """The rows of a table, and one sentence for each thing about it that was guessed or changed.

    Parameters
    ----------
    rows
        Columns of distinct names, also without regard to case; types that Parquet and DuckDB keep.
    """

    rows: pa.Table
    notes: tuple[str, ...]


def read_table(path: Path) -> ReadTable:
    """Read CSV (also separated by tab, semicolon or vertical bar), JSON lines, a JSON array or Parquet, also as gzip.

    What it is, is told by its content, not by its name. Text is UTF-8, UTF-16 or cp1252. Empty fields are null.

    Raises
    ------
    MetadataError
        When it can't be read, or is none of these.
    """
    content = read_content(path)
    if content.startswith(b"PAR1"):
        names, columns = _parquet(content, path)
        return _table(names, columns, ())
    text, encoding = as_text(content, path)
    notes = () if encoding == "utf-8" else (f"{path.name} is not UTF-8: it was read as {encoding}",)
    if looks_like_json(text):
        names, columns, changed = parse_json(text, path)
        return _table(names, columns, notes + changed)
    if path.name.lower().endswith(JSON_SUFFIXES):
        raise MetadataError(f"{str(path)!r} is not JSON: expected one object a line, or an array of objects")
    split = split_text(text, path)
    return _table(split.names, [typed(column) for column in split.columns], notes + split.notes)


def reserve(rows: pa.Table) -> ReadTable:
    """Rename columns whose names the store uses itself, such as ImgId, by a ``_`` at the end."""
    names, notes = list(rows.column_names), []
    for place, name in enumerate(names):
        if name.lower() in RESERVED_COLUMNS:
            names[place] = free_name(f"{name}_", names)
            notes.append(f"the column {name!r} is called {names[place]!r}, since the store has a column of that name")
    return ReadTable(rows.rename_columns(names), tuple(notes))


def _parquet(content: bytes, path: Path) -> tuple[list[str], list[pa.ChunkedArray]]:
    """All rows, read in batches: otherwise Arrow allocates as many rows as a damaged file claims to have."""
    try:
        words = [field.name for field in pq.read_schema(pa.BufferReader(content)) if pa.types.is_string(field.type)]
        # As dictionaries: a word of a megabyte that stands in each row takes a megabyte.
        with pq.ParquetFile(pa.BufferReader(content), read_dictionary=words) as parquet:
            schema = parquet.schema_arrow
            if len(schema) > MAX_COLUMNS:
                raise MetadataError(f"{str(path)!r} has {len(schema):,} columns: expected at most {MAX_COLUMNS:,}")
            batches, size, claimed = [], 0, parquet.metadata.num_rows
            if claimed > MAX_ROWS:
                raise MetadataError(f"{str(path)!r} has {claimed:,} rows: expected at most {MAX_ROWS:,}")
            for batch in parquet.iter_batches(batch_size=8192):
                batches.append(batch)
                size += sum(decoded_bytes(pa.chunked_array([column])) for column in batch.columns)
                if size > MAX_BYTES:
                    raise MetadataError(f"{str(path)!r} unpacks to more than {MAX_BYTES:,} bytes: leave columns out")
            table = pa.Table.from_batches(batches, schema)
        table.validate(full=True)  # text from a damaged file may not be UTF-8
        columns = [storable(column) for column in table.columns]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise MetadataError(
            f"{str(path)!r} is a damaged Parquet file ({reason(error)[:200]}): write it again"
        ) from error
    if not columns or len(table) != claimed:
        raise MetadataError(f"{str(path)!r} has {claimed:,} rows, but {len(table):,} can be read: write it again")
    return table.column_names, columns


def _table(names: Sequence[str], columns: Sequence[pa.ChunkedArray], notes: tuple[str, ...]) -> ReadTable:
    """The columns under distinct names, without an index and a nameless last column of nulls."""
    fields = [(_printable(name), column) for name, column in zip(names, columns, strict=True)]
    more = list(notes)
    while len(fields) > 1 and INDEX_NAME.fullmatch(fields[0][0]) and _counts(fields[0][1]):
        more.append("the first column has no name and only counts the rows: it was left out, as an index")
        del fields[0]
    if len(fields) > 1 and fields[-1][0] == PARQUET_INDEX and _counts(fields[-1][1]):
        more.append(f"the column {PARQUET_INDEX!r} only counts the rows: it was left out, as an index")
        del fields[-1]
    if len(fields) > 1 and not fields[-1][0] and fields[-1][1].null_count == len(fields[-1][1]):
        more.append("the last column has no name and no values: it was left out")
        del fields[-1]
    distinct, renamed = _distinct([name for name, _ in fields])
    return ReadTable(pa.table([column for _, column in fields], names=distinct), (*more, *renamed))


def _counts(column: pa.ChunkedArray) -> bool:
    """Whether the values are 0, 1, 2, … in this order, as pandas writes them, or 1, 2, 3, … as R does."""
    if not len(column):
        return True
    if not pa.types.is_integer(column.type) or column.null_count:
        return False
    values = column.to_pylist()
    return values[0] in (0, 1) and values == list(range(values[0], values[0] + len(values)))


def _printable(name: str) -> str:
    """``name`` in one line without control characters, which SQL can't spell."""
    return "".join(c if c.isprintable() else "_" for c in " ".join(name.split()))


def _distinct(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that differ by more than case, and a note for each that was changed."""
    distinct, notes = [], []
    taken = {name[:MAX_NAME].lower() for name in names}  # a made name is never that of a later column
    seen: set[str] = set()
    numbers: defaultdict[str, Iterator[int]] = defaultdict(lambda: count(2))
    for place, name in enumerate(names, start=1):
        base = name[:MAX_NAME] or f"column_{place}"
        new = base
        if base.lower() in seen or (not name and base.lower() in taken):
            made = (f"{base}_{number}" for number in numbers[base.lower()])
            new = next(one for one in made if one.lower() not in taken)
            taken.add(new.lower())
        seen.add(new.lower())
        distinct.append(new)
        if not name:
            notes.append(f"column {place} has no name: it is called {new!r}")
        elif new != base:
            notes.append(f"column {place} is called {new!r}, since another column is called {name[:80]!r}")
        elif new != name:
            notes.append(f"the name of column {place} is too long: it is called {new!r}")
    return distinct, notes


def has_column(table: pa.Table, name: str) -> bool:
    """Whether ``table`` has the column ``name``, without regard to case, as in SQL."""
    return name.lower() in (other.lower() for other in table.column_names)


def free_name(name: str, taken: Sequence[str]) -> str:
    """``name``, or the first of ``name_2``, ``name_3``, … that is not in ``taken``, without regard to case."""
    lower = {one.lower() for one in taken}
    candidates = (name if number == 1 else f"{name}_{number}" for number in range(1, len(lower) + 2))
    return next(one for one in candidates if one.lower() not in lower)
