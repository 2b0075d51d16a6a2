"""Finds the tables that lie in an imagefolder: a metadata.csv, metadata.jsonl or metadata.parquet beside the images.

Those on an object store are not read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from featurestore.collections.listing import fronts
from featurestore.collections.object_folder import Source
from featurestore.collections.tables import ReadTable, read_table, reserve
from featurestore.errors import InputError

NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
# The column that names the image, by its path below the folder of the table.
KEY = "file_name"


@dataclass(frozen=True)
class FoundTable:
    """The rows of all tables in a folder; ``key`` is the column with the path of each image."""

    table: ReadTable
    key: str


def find_tables(sources: Sequence[Source]) -> FoundTable | None:
    """Read the tables in the folders ``sources`` and in those directly below; None if there is none.

    Raises
    ------
    InputError
        When one lacks the column `KEY`.
    MetadataError
        When one can't be read.
    """
    tables, notes = [], []
    for front, source in zip(fronts(sources), sources, strict=True):
        if not isinstance(source, Path):
            continue
        for path in _tables(source):
            read = reserve(read_table(path).rows)
            if KEY not in read.rows.column_names:
                raise InputError(
                    f"{path} has no column {KEY!r} (it has: {', '.join(read.rows.column_names)}): name the table and "
                    "its key with --metadata and --key"
                )
            below = path.parent.relative_to(source).as_posix()
            folder = front + ("" if below == "." else f"{below}/")
            keys = [None if name is None else folder + str(name) for name in read.rows[KEY].to_pylist()]
            place = read.rows.column_names.index(KEY)
            tables.append(read.rows.set_column(place, KEY, pa.array(keys, pa.string())))
            notes += [f"the table {path.relative_to(source)} was found beside the images", *read.notes]
    if not tables:
        return None
    try:
        rows = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(f"the tables beside the images have different columns ({error}): make them equal") from error
    return FoundTable(ReadTable(rows, tuple(notes)), KEY)


def _tables(source: Path) -> Iterator[Path]:
    """At most one table of each folder."""
    if not source.is_dir():
        return
    for folder in [source, *sorted(path for path in source.iterdir() if path.is_dir())]:
        for name in NAMES:
            if (folder / name).is_file():
                yield folder / name
                break
