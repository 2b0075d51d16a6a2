"""Reads images in Arrow files and in the folders of them that `Dataset.save_to_disk` writes; `datasets` isn't needed.

The files are mapped into memory, so that an image costs its own bytes only.
"""

import itertools
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from featurestore.collections.containers.base import DAMAGED, ContainerRows
from featurestore.collections.containers.features import features_of, parse_features
from featurestore.collections.containers.image_table import (
    PEEKED,
    ImageColumn,
    checked,
    content_of,
    decoded_bytes,
    find_image_column,
    kept_columns,
    notes_of,
    paths_of,
    row_of,
    rows_of,
    suffixes_of,
)
from featurestore.collections.limits import COLUMN_BYTES, MAX_JSON, MAX_MEMBERS, SLACK_BYTES
from featurestore.errors import ImageError, InputError, reason
from featurestore.files import read_file, why

INFO, STATE, SPLITS = "dataset_info.json", "state.json", "dataset_dict.json"
# The first bytes of Arrow's two formats.
FILE, STREAM = b"ARROW1\0\0", b"\xff\xff\xff\xff"


class ArrowContainer:
    """An Arrow file with a column of images; the member of an image is the number of its row. See `Container`."""

    def __init__(
        self, path: Path, batches: Sequence[pa.RecordBatch], *, features: Mapping[str, Any], image: ImageColumn
    ) -> None:
        self.path = path
        self._batches, self._features, self._image = batches, features, image
        self._starts = [0, *itertools.accumulate(batch.num_rows for batch in batches)]
        self._images: dict[int, pa.Array] = {}

    def rows(self) -> ContainerRows:
        """See `Container.rows`."""
        kept, left = kept_columns(self._batches[0].schema, self._image)
        columns: dict[str, pa.ChunkedArray] = {}
        room = COLUMN_BYTES
        try:
            for name in kept:
                column = pa.chunked_array([checked(batch, name) for batch in self._batches])
                if (size := decoded_bytes(column)) <= room:
                    room -= size
                    columns[name] = column
            left += [name for name in kept if name not in columns]
            return rows_of(
                columns,
                self._features,
                paths=self._paths(),
                stem=self.path.stem,
                suffixes=self._suffixes,
                notes=notes_of(self._image, left),
            )
        except DAMAGED as error:
            raise InputError(f"the Arrow file {str(self.path)!r} is damaged: {reason(error)}") from error

    def read(self, member: str) -> bytes:
        """See `Container.read`."""
        return self._read(row_of(member, self._starts[-1]))

    def read_all(self) -> Iterator[tuple[str, bytes | ImageError]]:
        """See `Container.read_all`."""
        for row in range(self._starts[-1]):
            try:
                yield str(row), self._read(row)
            except ImageError as error:
                yield str(row), error

    def _read(self, row: int) -> bytes:
        number = bisect_right(self._starts, row) - 1
        try:
            column = self._column(number)
        except DAMAGED as error:
            raise ImageError(f"batch {number} of the Arrow file is damaged: {reason(error)}") from error
        return content_of(column, row - self._starts[number], self.path.parent)

    def _column(self, number: int) -> pa.Array:
        """The images of a batch, checked once: a wrong offset would read memory that is not the file's."""
        if number not in self._images:
            self._images[number] = checked(self._batches[number], self._image.name)
        return self._images[number]

    def _paths(self) -> list[str | None]:
        if not self._image.has_path:
            return [None] * self._starts[-1]
        return [path for number in range(len(self._batches)) for path in paths_of(self._column(number))]

    def _suffixes(self) -> list[str]:
        return [suffix for number in range(len(self._batches)) for suffix in suffixes_of(self._column(number))]


def is_arrow(start: bytes) -> bool:
    """Whether a file that begins with ``start`` is one of Arrow's two formats."""
    return start.startswith((FILE, STREAM))


def open_arrow(path: Path) -> ArrowContainer | None:
    """The container in an Arrow file; None when no column holds images.

    Raises
    ------
    InputError
        When the file is damaged, compressed or can't be read, or has more than `MAX_MEMBERS` rows.
    """
    try:
        source = pa.memory_map(str(path))
        batches = list(_batches(source, path))
        if not batches:
            return None
        schema = batches[0].schema
        features = features_of(schema)
        if not features and (path.parent / INFO).is_file():
            features = parse_features(read_file(path.parent / INFO, limit=MAX_JSON))

        def first(name: str) -> pa.Array:
            columns = (checked(batch, name) for batch in batches[:PEEKED])
            return next((column.drop_null() for column in columns if column.null_count < len(column)), pa.nulls(0))

        image = find_image_column(schema, features, first)
    except DAMAGED as error:
        raise InputError(f"{str(path)!r} can't be read as an Arrow file: {reason(error)}") from error
    return ArrowContainer(path, batches, features=features, image=image) if image else None


def _batches(source: pa.MemoryMappedFile, path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of an Arrow file; their buffers are the file itself."""
    size, rows, held = source.size(), 0, 0
    if source.read(len(FILE)) == FILE:
        reader = pa.ipc.open_file(source)
        batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        source.seek(0)
        batches = iter(pa.ipc.open_stream(source))
    for batch in batches:
        rows, held = rows + batch.num_rows, held + batch.get_total_buffer_size()
        if rows > MAX_MEMBERS:
            raise InputError(f"{str(path)!r} has more than {MAX_MEMBERS:,} rows: split it")
        if held > size + SLACK_BYTES:
            raise InputError(f"{str(path)!r} is compressed and would fill the memory: write it uncompressed")
        if batch.num_rows:
            yield batch


def is_datasets_folder(folder: Path) -> bool:
    """Whether ``folder`` was written by `save_to_disk` of a Dataset or a DatasetDict."""
    return (folder / SPLITS).is_file() or ((folder / STATE).is_file() and (folder / INFO).is_file())


def datasets_files(folder: Path) -> list[tuple[Path, str]]:
    """The Arrow files of a folder that `save_to_disk` wrote, in the order of their rows, each with its split or ''.

    Raises
    ------
    InputError
        When its records are damaged, name files elsewhere or missing ones, or select rows by a file of indices.
    """
    if not (folder / SPLITS).is_file():
        return _files(folder, "")
    splits = _record(folder / SPLITS).get("splits")
    return [file for split in _names(splits, folder / SPLITS) for file in _files(folder / split, split)]


def _files(folder: Path, split: str) -> list[tuple[Path, str]]:
    state = _record(folder / STATE)
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise InputError(
            f"the dataset in {str(folder)!r} selects rows by a file of indices, which can't be read: "
            "call flatten_indices() and save it again"
        )
    listed = state.get("_data_files")
    if isinstance(listed, list):
        listed = [file.get("filename") if isinstance(file, dict) else None for file in listed]
    names = _names(listed, folder / STATE)
    own = state.get("_split")
    for name in names:
        if not (folder / name).is_file():
            raise InputError(
                f"{str(folder / STATE)!r} names the file {name!r}, which is missing: copy the whole folder"
            )
    return [(folder / name, split or (own if isinstance(own, str) else "")) for name in names]


def _names(names: Any, source: Path) -> list[str]:
    """The names that a record lists, each once, if each is the name of something in the record's own folder."""
    if not isinstance(names, list):
        raise InputError(f"{str(source)!r} is damaged: got no list of names: save the dataset again")
    for name in names:
        if not isinstance(name, str) or name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise InputError(f"{str(source)!r} names {name!r}, expected the name of a file or folder beside it")
    return list(dict.fromkeys(names))


def _record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_file(path, limit=MAX_JSON))
    except OSError as error:
        raise InputError(f"{str(path)!r} can't be read: {why(error)}: save the dataset again") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} is not JSON ({reason(error)}): save the dataset again") from error
    if not isinstance(found, dict):
        raise InputError(f"{str(path)!r} is not a JSON object: save the dataset again")
    return found
