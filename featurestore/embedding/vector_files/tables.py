"""Reads the chosen columns of CSV and Parquet files to Arrow tables; which columns they are is decided elsewhere."""

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv as arrow_csv

from featurestore.errors import InputError

# Maximum bytes of the first line of a CSV: a million columns.
HEADER_BYTES = 16 << 20


def csv_header(file: Path) -> list[str]:
    """The names in the first line of a CSV or CSV.gz."""
    opener = gzip.open if file.name.lower().endswith(".gz") else open
    with opener(file, "rb") as stream:
        line = stream.readline(HEADER_BYTES)
    return next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")]), [])


def read_csv(file: Path, *, text: Sequence[str], numbers: Sequence[str]) -> pa.Table:
    """The columns ``text`` as strings and ``numbers`` as float64."""
    kinds = dict.fromkeys(numbers, pa.float64()) | dict.fromkeys(text, pa.string())
    return arrow_csv.read_csv(
        file,
        read_options=arrow_csv.ReadOptions(block_size=64 << 20),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(include_columns=list(kinds), column_types=kinds),
    )


def parquet_schema(file: Path) -> pa.Schema:
    """The names and types of the columns, extension types included."""
    with pq.ParquetFile(file) as parquet:
        return parquet.schema_arrow


def read_parquet(file: Path, columns: Sequence[str]) -> pa.Table:
    """All rows, read in batches: otherwise Arrow allocates as many rows as a damaged file claims to have.

    Column metadata is not read, since pyarrow aborts the process if it is damaged.
    """
    with pq.ParquetFile(file) as parquet:
        schema = pa.schema([field for field in parquet.schema_arrow if field.name in columns])
        table = pa.Table.from_batches(parquet.iter_batches(columns=schema.names), schema)
        if table.num_columns and len(table) != parquet.metadata.num_rows:
            raise InputError(
                f"{file} is damaged: its footer says {parquet.metadata.num_rows:,} rows, {len(table):,} can be read: "
                "write it again"
            )
        return table
