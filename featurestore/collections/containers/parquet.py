"""Reads images in a Parquet file, by row groups: of one that is large, only a part is decoded at a time."""

import itertools
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.collections.containers.base import DAMAGED, ContainerRows
from featurestore.collections.containers.features import features_of
from featurestore.collections.containers.image_table import (
    PEEKED,
    ImageColumn,
    column_of,
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
from featurestore.collections.limits import COLUMN_BYTES, MAX_MEMBERS
from featurestore.errors import ImageError, InputError, reason
from featurestore.files import MEGABYTE, open_file

# Decoded bytes that one row group holds; two groups are held, since threads ask for rows out of order.
HELD_BYTES = 64 * MEGABYTE
HELD_GROUPS = 2


class ParquetContainer:
    """A Parquet file with a column of images; the member of an image is the number of its row. See `Container`."""

    def __init__(self, path: Path, *, metadata: Any, schema: pa.Schema, image: ImageColumn) -> None:
        self.path = path
        self._metadata, self._schema, self._image = metadata, schema, image
        self._starts = [0]
        for group in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)
        self._lock = threading.Lock()
        self._held: dict[int, _RowGroup] = {}

    def rows(self) -> ContainerRows:
        """See `Container.rows`."""
        try:
            return self._rows()
        except DAMAGED as error:
            raise InputError(f"the Parquet file {str(self.path)!r} is damaged: {reason(error)}") from error

    def read(self, member: str) -> bytes:
        """See `Container.read`."""
        row = row_of(member, self._starts[-1])
        group = bisect_right(self._starts, row) - 1
        with self._lock:
            held = self._held.pop(group, None) or _RowGroup(self, group)
            self._held[group] = held  # the last one used
            while len(self._held) > HELD_GROUPS:
                del self._held[next(iter(self._held))]
            column, place = held.find(row - self._starts[group])
        return content_of(column, place, self.path.parent)

    def read_all(self) -> Iterator[tuple[str, bytes | ImageError]]:
        """See `Container.read_all`."""
        for group, start in enumerate(self._starts[:-1]):
            held = _RowGroup(self, group)
            for row in range(self._starts[group + 1] - start):
                try:
                    column, place = held.find(row)
                    yield str(start + row), content_of(column, place, self.path.parent)
                except ImageError as error:
                    yield str(start + row), error

    def images(self, group: int) -> Iterator[pa.Array]:
        """The column of images in one row group, in pieces that are small even where words of a dictionary repeat."""
        facts = self._metadata.row_group(group)
        # One image may take all these bytes and stand in every row, as a word of the dictionary. The size of the column
        # alone would be less, but `facts.column` ends the whole process on some damaged files.
        most = max(1, facts.total_byte_size)
        size = max(1, min(facts.num_rows, HELD_BYTES // most))
        name = self._image.name
        with (
            open_file(self.path) as source,
            _parquet_file(source, self._metadata) as file,
        ):
            for batch in file.iter_batches(size, row_groups=[group], columns=[name], use_threads=False):
                yield column_of(batch, name)

    def _rows(self) -> ContainerRows:
        kept, left = kept_columns(self._schema, self._image)
        columns = self._columns(kept)
        left += [name for name in kept if name not in columns]
        return rows_of(
            columns,
            features_of(self._schema),
            paths=self._paths(),
            stem=self.path.stem,
            suffixes=self._suffixes,
            notes=notes_of(self._image, left),
        )

    def _columns(self, names: list[str]) -> dict[str, pa.ChunkedArray]:
        """The columns ``names`` as far as they take less than `COLUMN_BYTES` in all.

        Text is a dictionary, since one word may stand in a million rows.
        """
        words = [name for name in names if pa.types.is_string(self._schema.field(name).type)]
        columns: dict[str, pa.ChunkedArray] = {}
        room = COLUMN_BYTES
        with (
            open_file(self.path) as source,
            _parquet_file(source, self._metadata, words=words) as file,
        ):
            for name in names:
                parts = []
                size = 0
                for group in range(self._metadata.num_row_groups):
                    parts.append(file.read_row_group(group, columns=[name])[name])
                    size += decoded_bytes(parts[-1])
                    if size > room:
                        break
                else:
                    room -= size
                    chunks = [chunk for part in parts for chunk in part.chunks]
                    columns[name] = pa.chunked_array(chunks, parts[0].type if parts else self._schema.field(name).type)
        return columns

    def _paths(self) -> list[str | None]:
        """The path in the struct of each image."""
        count, name = self._starts[-1], self._image.name
        if not self._image.has_path:
            return [None] * count
        with (
            open_file(self.path) as source,
            _parquet_file(source, self._metadata) as file,
        ):
            column = file.read(columns=[f"{name}.path"])[name]
        if len(column) != count:
            raise ValueError(f"it has {len(column):,} paths for {count:,} rows")
        return [path for chunk in column.chunks for path in paths_of(chunk)]

    def _suffixes(self) -> list[str]:
        """The suffix of each image by its first bytes: reads all images once."""
        suffixes: list[str] = []
        for group, (start, end) in enumerate(itertools.pairwise(self._starts)):
            with suppress(*DAMAGED):  # `read` gives the reason for each of these rows
                suffixes += [suffix for column in self.images(group) for suffix in suffixes_of(column)]
            suffixes = (suffixes + [""] * (end - start))[:end]
        return suffixes


class _RowGroup:
    """The images of one row group, decoded as far as they were asked for; the last `HELD_BYTES` of them are held."""

    def __init__(self, container: ParquetContainer, group: int) -> None:
        self._container, self._group = container, group
        self._failure: ImageError | None = None
        self._restart()

    def _restart(self) -> None:
        self._left = self._container.images(self._group)
        self._pieces: deque[tuple[int, pa.Array]] = deque()  # each with the number of its first row
        self._next, self._bytes = 0, 0

    def find(self, row: int) -> tuple[pa.Array, int]:
        """A piece of the column, and the place of ``row`` in it.

        Raises
        ------
        ImageError
            When the row group is damaged.
        """
        if self._failure:
            raise self._failure
        if self._pieces and row < self._pieces[0][0]:
            self._restart()
        while row >= self._next:
            self._decode()
        start, column = next(piece for piece in reversed(self._pieces) if piece[0] <= row)
        return column, row - start

    def _decode(self) -> None:
        try:
            column = next(self._left, None)
            if column is None or not len(column):
                raise InputError("it has fewer rows than the file says")
        except (*DAMAGED, InputError) as error:
            self._failure = ImageError(f"row group {self._group} of the Parquet file is damaged: {reason(error)}")
            raise self._failure from error
        self._pieces.append((self._next, column))
        self._next += len(column)
        self._bytes += column.nbytes
        while self._bytes > HELD_BYTES and len(self._pieces) > 1:
            self._bytes -= self._pieces.popleft()[1].nbytes


def _parquet_file(source: IO[bytes], metadata: Any = None, *, words: Sequence[str] = ()) -> pq.ParquetFile:
    """The Parquet file, read page by page; by default pyarrow reads all bytes of a column at once."""
    return pq.ParquetFile(
        source, metadata=metadata, read_dictionary=list(words), buffer_size=MEGABYTE, pre_buffer=False
    )


def open_parquet(path: Path) -> ParquetContainer | None:
    """The container in a Parquet file; None when no column holds images.

    Raises
    ------
    InputError
        When the file is damaged or can't be read, or has more than `MAX_MEMBERS` rows.
    """
    try:
        with open_file(path) as source, _parquet_file(source) as file:
            metadata, schema = file.metadata, file.schema_arrow

            def first(name: str) -> pa.Array:
                for batch in itertools.islice(file.iter_batches(PEEKED, columns=[name], use_threads=False), PEEKED):
                    column = column_of(batch, name)
                    if column.null_count < len(column):
                        return column
                return pa.nulls(0, schema.field(name).type)

            image = find_image_column(schema, features_of(schema), first)
            counts = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    except DAMAGED as error:
        raise InputError(f"{str(path)!r} can't be read as a Parquet file: {reason(error)}") from error
    if image is None:
        return None
    if min(counts, default=0) < 0 or sum(counts) > MAX_MEMBERS:
        raise InputError(
            f"{str(path)!r} says that it has {sum(counts):,} rows, expected 0 to {MAX_MEMBERS:,}: split it"
        )
    return ParquetContainer(path, metadata=metadata, schema=schema, image=image)
