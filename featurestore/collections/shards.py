"""The files of a listing that hold many images: what is in them, their names in the collection, and their images."""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import pyarrow as pa

from featurestore.collections.containers import Container, ContainerRows, open_container, split_of
from featurestore.collections.limits import READ_BYTES
from featurestore.collections.listing import Listing, fronts, printable, suffix
from featurestore.collections.stored_paths import from_stored, to_stored
from featurestore.collections.tables import has_column
from featurestore.errors import ImageError, InputError

# The column with the part of a split, as the name of a shard says it.
SPLIT = "split"
# Images read ahead of those that are decoded, for each thread.
AHEAD = 4

Made = TypeVar("Made")


@dataclass(frozen=True)
class ImageShard:
    """A file with images: where it is, as in the table `images`, and what is in it.

    ``names`` are those of its images in the collection, ``mark`` the size, times and inode of the file.
    """

    source: str
    file: str
    container: Container
    rows: ContainerRows
    names: Sequence[str]
    split: str | None
    mark: tuple[int, int, int, int]


def open_shards(listing: Listing) -> list[ImageShard]:
    """Open the files with images of ``listing``.

    The name of an image is the one that it has in its file; with several files, after the path of the file without its
    suffix, so that a further file changes no name.

    Raises
    ------
    InputError
        When one is damaged, or holds no image.
    """
    before = [printable(front) for front in fronts(listing.sources)]
    found = _containers(listing)
    shards = []
    for number, file, container in found:
        path = listing.container(number, file)
        rows = container.rows()
        stem = f"{PurePosixPath(printable(file)).with_suffix('')}/" if file and len(found) > 1 else ""
        names = [before[number] + _after(stem, name) for name in rows.name]
        status = path.stat()
        mark = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        split = listing.splits.get((number, file)) or split_of(path.name)
        place = to_stored(str(listing.sources[number])), to_stored(file)
        shards.append(ImageShard(*place, container, rows, names, split, mark))
    return shards


def _containers(listing: Listing) -> list[tuple[int, str, Container]]:
    """The files that hold images; others in a folder, such as a table or the parts of a store, are ignored ones."""
    found: list[tuple[int, str, Container]] = []
    without: dict[int, Path] = {}
    for number, file in listing.containers:
        path = listing.container(number, file)
        container = open_container(path)
        if container is not None:
            found.append((number, file, container))
        else:
            without.setdefault(number, path)
            listing.ignored[suffix(path.name)] += 1
    for number in without.keys() - {number for number, _, _ in found}:
        raise InputError(
            f"{str(without[number])!r} is no tar, Parquet or Arrow file that holds images: name such a file, or the "
            "folder of the images"
        )
    return found


def attached(images: pa.Table, shards: Sequence[ImageShard]) -> pa.Table | None:
    """What the files say of their images beside the bytes: ``ImgName`` and their columns; None if they say nothing.

    ``images`` are the scanned images, those of the shards last.
    """
    tables = []
    for shard in shards:
        table = shard.rows.columns
        if not has_column(table, SPLIT) and shard.split is not None:
            table = table.append_column(SPLIT, pa.array([shard.split] * len(shard.names), pa.string()))
        tables.append(table if table.num_columns else pa.table({"_": pa.nulls(len(shard.names))}))
    if not any(table.column_names != ["_"] for table in tables):
        return None
    try:
        rows = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(
            f"the files with images have different columns ({error}): make them equal, or name them one at a time"
        ) from error
    rows = rows.drop_columns(["_"]) if "_" in rows.column_names else rows
    return rows.add_column(0, "ImgName", images["ImgName"][len(images) - len(rows) :])


def read_members(
    shard: ImageShard, wanted: Collection[str], make: Callable[[str, bytes | ImageError], Made]
) -> Iterator[Made]:
    """``make`` of each wanted member and its bytes, or why it can't be read, in the order of the file, on all cores."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[tuple[Future[Made], int]] = deque()
        held = 0
        for member, content in shard.container.read_all():
            if member in wanted:
                size = 0 if isinstance(content, ImageError) else len(content)
                held += size
                pending.append((pool.submit(make, member, content), size))
            while len(pending) > AHEAD * workers or (held > READ_BYTES and pending):
                future, size = pending.popleft()
                held -= size
                yield future.result()
        for future, _ in pending:
            yield future.result()


def address(shard: ImageShard) -> Path:
    """The path of the file."""
    return Path(from_stored(shard.source), from_stored(shard.file))


def _after(stem: str, name: str) -> str:
    return name if name.startswith(stem) else stem + name
