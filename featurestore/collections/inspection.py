"""Reads and decodes images of a listing on all cores; it knows neither the cache nor the order of the table."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pyarrow as pa

from featurestore.collections.address import ImageAddress, ObjectPath
from featurestore.collections.images import ImageFacts, inspect
from featurestore.collections.limits import MAX_BYTES
from featurestore.collections.listing import LINK_OUT, Listing
from featurestore.collections.memory import read_room
from featurestore.collections.object_folder import ObjectEntry, ObjectFolder, readers, too_large
from featurestore.collections.shards import ImageShard, read_members
from featurestore.errors import AccessDenied, ImageError, ImageUnread
from featurestore.progress import Progress
from featurestore.quiet import quiet
from featurestore.storage.schemas import IMAGES

# What is known of an image after it was read; ``again`` says that the next scan must read it too.
FOUND = pa.schema(
    [
        *(pa.field(field.name, IMAGES.field(field.name).type) for field in fields(ImageFacts)),
        *(pa.field(name, IMAGES.field(name).type) for name in ("status", "reason")),
        pa.field("again", pa.bool_()),
    ]
)
# Files per task of the pool: the overhead of a task is that of reading a small file.
TASK_FILES = 16
# Rows held as tuples, which take several times the memory of a table.
TABLE_ROWS = 4096

# The values of a row of `FOUND`.
Row = tuple[str | int | bool | None, ...]


def inspect_images(
    listing: Listing, shards: Sequence[ImageShard], wanted: Sequence[int], *, on_progress: Progress | None
) -> pa.Table:
    """Inspect the images with the indices ``wanted``, ascending: a table `FOUND` with a row for each, in this order.

    The indices of the images in ``shards`` follow those of the files of ``listing``. The size of a refused image is
    null. ``on_progress`` is called with the number of images done and of all images.
    """
    total = len(listing.entries) + sum(len(shard.names) for shard in shards)
    done = total - len(wanted)
    if on_progress:
        on_progress(done, total)
    rows: list[Row] = []
    tables = []
    # Quiet for all images at once: to set the filters of warnings for each one takes longer.
    with quiet():
        for some in _rows(listing, shards, wanted):
            rows += some
            done += len(some)
            if len(rows) >= TABLE_ROWS:
                tables.append(_table(rows))
                rows.clear()
            if on_progress:
                on_progress(done, total)
    return pa.concat_tables([*tables, _table(rows)])


def _table(rows: Sequence[Row]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(FOUND)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, FOUND, strict=True)]
    return pa.Table.from_arrays(arrays, schema=FOUND)


def _rows(listing: Listing, shards: Sequence[ImageShard], wanted: Sequence[int]) -> Iterator[list[Row]]:
    """The rows of the images with the indices ``wanted``, some at a time: of files, then of each shard."""

    def inspect_some(numbers: Sequence[int]) -> list[Row]:
        return [_file_row(listing, number) for number in numbers]

    files = [number for number in wanted if number < len(listing.entries)]
    tasks = [files[start : start + TASK_FILES] for start in range(0, len(files), TASK_FILES)]
    with ThreadPoolExecutor(readers(listing.sources)) as pool:
        yield from pool.map(inspect_some, tasks)
    first = len(listing.entries)
    for shard in shards:
        members = {shard.rows.member[n - first] for n in wanted if first <= n < first + len(shard.names)}
        first += len(shard.names)
        if members:
            for row in read_members(shard, members, _member_row):
                yield [row]


def _file_row(listing: Listing, number: int) -> Row:
    entry, source = listing.entries[number], listing.sources[listing.numbers[number]]

    def read() -> bytes:
        if listing.outside[number]:
            raise ImageError(LINK_OUT)
        if not isinstance(entry, ObjectEntry):
            return ImageAddress(Path(entry.path)).read()
        assert isinstance(source, ObjectFolder)
        if entry.mark[0] > MAX_BYTES:
            raise too_large()
        try:
            return ImageAddress(ObjectPath(source, entry.key)).read()
        except AccessDenied as error:  # the folder could be listed, so that this is said of the object
            raise ImageUnread("there is no permission to read the object") from error

    with read_room(min(_size(entry), MAX_BYTES)):
        return _row(read)


def _size(entry: "os.DirEntry[str] | ObjectEntry") -> int:
    """The bytes of a file or an object; 0 where they are not known, which reading it then tells."""
    if isinstance(entry, ObjectEntry):
        return entry.mark[0]
    try:
        return entry.stat().st_size
    except OSError:
        return 0


def _member_row(_: str, content: bytes | ImageError) -> Row:
    def read() -> bytes:
        if isinstance(content, ImageError):
            raise content
        return content

    return _row(read)


def _row(read: Callable[[], bytes]) -> Row:
    try:
        return *vars(inspect(read())).values(), "ok", None, False
    except ImageError as error:
        row: dict[str, str | bool] = {"content_hash": "", "synthetic": False, "status": "broken", "reason": str(error)}
        row["again"] = isinstance(error, ImageUnread)
        return tuple(row.get(name) for name in FOUND.names)
