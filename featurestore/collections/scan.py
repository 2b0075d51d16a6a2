"""Reads the images of a listing into rows of the table `images`; unchanged files come from a disposable cache."""

import hashlib
import time
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, to_numpy
from featurestore.collections.containers.names import unique_names
from featurestore.collections.fingerprints import FINGERPRINT, NEVER, fingerprints
from featurestore.collections.inspection import inspect_images
from featurestore.collections.listing import LINK_OUT, Listing, image_names
from featurestore.collections.shards import ImageShard
from featurestore.collections.stored_paths import to_stored
from featurestore.files import file_hash, make_folder, write_atomic
from featurestore.progress import Progress
from featurestore.storage.names import inside
from featurestore.storage.parts import HASH_DIGITS
from featurestore.storage.schemas import IMAGES

# A file changed within the clock's resolution of its last read could look unchanged: such entries are not used.
RACY_NS = 2_000_000_000
ADDRESS = ("source", "file", "member")
CACHE_SCHEMA = pa.schema(
    [
        *(field for field in IMAGES),
        *(pa.field(name, pa.int64()) for name in ("file_bytes", "mtime_ns", "ctime_ns", "inode")),
    ]
)


@dataclass(frozen=True)
class Scan:
    """Rows of `images` in the order of the listing, without ids; the numbers of other files, and of files read.

    ``seen`` is the table that `keep` writes to the cache; None when the cache is up to date.
    """

    table: pa.Table
    ignored: int
    read: int
    seen: pa.Table | None


def scan_images(
    listing: Listing,
    shards: Sequence[ImageShard] = (),
    *,
    cache: Path | None = None,
    on_progress: Progress | None = None,
) -> Scan:
    """Look at every image of ``listing``, those in ``shards`` after those in files of their own.

    Parameters
    ----------
    cache
        The folder to which `keep` writes the results; a file with unchanged size, times and inode is not read again.
    on_progress
        Called with the number of files done and of all files.
    """
    known = _read_cache(cache)
    started_ns = time.time_ns()
    # Unique, as a file may be called like the escaped name of another, or like an image in another file.
    names, _ = unique_names(image_names(listing) + [name for shard in shards for name in shard.names])
    marks = np.concatenate([fingerprints(listing.entries), *(_marks(shard) for shard in shards)])
    addresses = _addresses(listing, shards)
    places = _unchanged(addresses, marks, known)
    outside = np.append(listing.outside, np.zeros(len(names) - len(listing.entries), bool))
    places[_link_out(known)[places] != outside] = -1  # whether links are followed has changed
    changed = np.flatnonzero(places < 0)
    found = inspect_images(listing, shards, changed.tolist(), on_progress=on_progress)
    rows = _new_rows(found, changed, names=names, addresses=addresses, marks=marks)
    # The rows of the cache, then the new ones; `order` sorts them as the entries.
    order = places.copy()
    order[changed] = known.num_rows + np.arange(len(changed))
    table, seen = known, None
    if len(changed) or not _is_sequence(order, known.num_rows):
        table = pa.concat_tables([known, rows]).take(from_numpy(order)).combine_chunks()
        seen = table.filter(pc.less(table["ctime_ns"], started_ns - RACY_NS))
    named = table["ImgName"].combine_chunks()
    wanted = pa.array(names, pa.string())
    table = table.select(IMAGES.names)
    if not wanted.equals(named):  # another set of folders gives other names
        table = table.set_column(IMAGES.get_field_index("ImgName"), IMAGES.field("ImgName"), wanted)
    return Scan(table, listing.ignored.total(), len(changed), seen)


def keep(scan: Scan, cache: Path) -> None:
    """Write the results of ``scan`` to the folder ``cache``, which is in the store: the caller must hold the lock.

    The file is named by its hash, as parts are, so that damage is detected: it could give an image a wrong hash.
    """
    if scan.seen is not None:
        _write_cache(scan.seen, cache)


def forget_scanned(cache: Path, addresses: Container[tuple[str, ...]], hashes: Container[str]) -> int:
    """Remove the images at these ``addresses``, and those with these ``hashes``, from the folder ``cache``.

    Files in it that can't be read are removed. The caller must hold the lock. Returns the number of images.
    """
    seen = _read_cache(cache)
    columns = [seen[name].to_pylist() for name in (*ADDRESS, "content_hash")]
    left = [row[:3] not in addresses and row[3] not in hashes for row in zip(*columns, strict=True)]
    if all(left) and len(list(cache.glob(_cache_name("*")))) == bool(len(seen)):
        return 0
    _write_cache(seen.filter(pa.array(left, pa.bool_())), cache)
    return left.count(False)


def _write_cache(seen: pa.Table, cache: Path) -> None:
    make_folder(inside(cache.parent, cache))  # older files in it are removed below
    sink = pa.BufferOutputStream()
    pq.write_table(seen, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    path = cache / _cache_name(hashlib.sha256(content).hexdigest())
    write_atomic(path, content)
    for older in cache.glob(_cache_name("*")):
        if older != path:
            older.unlink(missing_ok=True)


def in_order(table: pa.Table) -> pa.Table:
    """A table of the schema `IMAGES` sorted by id, then name, rows without an id last; in one chunk."""
    table = table.combine_chunks()
    if not table["ImgId"].null_count and bool((np.diff(to_numpy(table["ImgId"])) > 0).all()):
        return table  # already sorted: no copy
    order = pc.sort_indices(table, sort_keys=[("ImgId", "ascending"), ("ImgName", "ascending")])
    return table.take(order).combine_chunks()


def _addresses(listing: Listing, shards: Sequence[ImageShard]) -> list[pa.Array]:
    """Where each image lies: the columns in `ADDRESS`."""
    folders = pa.array([to_stored(str(source)) for source in listing.sources], pa.string())
    try:
        files = pa.array(listing.files, pa.string())
    except UnicodeEncodeError:
        files = pa.array([to_stored(file) for file in listing.files], pa.string())
    none = pa.array([""] * len(files), pa.string())
    columns = [[folders.take(pa.array(listing.numbers, pa.int64()))], [files], [none]]
    for shard in shards:
        for column, value in zip(columns, (shard.source, shard.file), strict=False):
            column.append(pa.repeat(pa.scalar(value, pa.string()), len(shard.names)))
        columns[2].append(pa.array(shard.rows.member, pa.string()))
    return [pa.concat_arrays(column) for column in columns]


def _marks(shard: ImageShard) -> NDArray[np.int64]:
    return np.tile(np.array(shard.mark, np.int64), (len(shard.names), 1))


def _unchanged(addresses: Sequence[pa.Array], marks: NDArray[np.int64], known: pa.Table) -> NDArray[np.int64]:
    """The row in ``known`` of each image whose file is unchanged, -1 where it must be read: ``(n,)`` int64."""
    before = [known[name].combine_chunks() for name in ADDRESS]
    if all(one.equals(other) for one, other in zip(addresses, before, strict=True)):
        places = np.arange(len(marks))  # same files as before: no hash table needed
    else:
        joined = [pc.binary_join_element_wise(*columns, "\0") for columns in (addresses, before)]
        places = to_numpy(pc.fill_null(pc.index_in(joined[0], value_set=joined[1]), -1)).astype(np.int64)
    same = places >= 0
    for column, name in enumerate(FINGERPRINT):
        known_marks = known["file_bytes" if name == "size_bytes" else name]
        same[same] = to_numpy(known_marks)[places[same]] == marks[same, column]
    return np.where(same, places, -1)


def _link_out(known: pa.Table) -> NDArray[np.bool_]:
    """Which rows of the cache were refused for leading out of the folder; one False more, for files not in it."""
    refused = pc.fill_null(pc.equal(known["reason"], LINK_OUT), False)
    return np.append(to_numpy(refused), False)


def _is_sequence(order: NDArray[np.int64], rows: int) -> bool:
    return len(order) == rows and bool((order == np.arange(rows)).all())


def _new_rows(
    found: pa.Table,
    changed: NDArray[np.int64],
    *,
    names: Sequence[str],
    addresses: Sequence[pa.Array],
    marks: NDArray[np.int64],
) -> pa.Table:
    """The rows of the cache for the images with the indices ``changed``, of which ``found`` has what they hold."""
    source, file, member = (column.take(from_numpy(changed)) for column in addresses)
    file_bytes, mtime_ns, ctime_ns, inode = (from_numpy(column) for column in marks[changed].T)
    columns = dict(zip(found.column_names, found.columns, strict=True)) | {
        "ImgId": pa.nulls(len(changed), pa.int32()),
        "ImgName": pa.array([names[place] for place in changed.tolist()], pa.string()),
        "source": source,
        "file": file,
        "member": member,
        "size_bytes": pc.coalesce(found["size_bytes"], pc.if_else(pc.equal(member, ""), file_bytes, 0)),
        "file_bytes": file_bytes,
        "mtime_ns": pc.if_else(found["again"], NEVER, mtime_ns),
        "ctime_ns": ctime_ns,
        "inode": inode,
    }
    return pa.Table.from_arrays([columns[name] for name in CACHE_SCHEMA.names], schema=CACHE_SCHEMA)


def _cache_name(sha256: str) -> str:
    return f"images-{sha256[:HASH_DIGITS]}.parquet"


def _read_cache(cache: Path | None) -> pa.Table:
    """The cached results; empty where there are none or they can't be used, since the cache is disposable."""
    for path in sorted(cache.glob(_cache_name("*"))) if cache else ():
        try:
            if path.name != _cache_name(file_hash(path)):
                continue
            with pq.ParquetFile(path) as file:
                table = file.read()
        except (OSError, pa.ArrowException):
            continue
        if table.schema.equals(CACHE_SCHEMA):
            return table.combine_chunks()
    return CACHE_SCHEMA.empty_table()
