"""A folder of `<ImgId>.jpg` becomes rows of the table `images`; a disposable cache spares unchanged files."""

import hashlib
import os
import time
from array import array
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore.arrow import from_numpy, to_numpy
from featurestore.collections.images import SUFFIXES, inspect, read_image
from featurestore.errors import ImageError, InputError
from featurestore.files import file_hash, make_folder, write_atomic
from featurestore.progress import Progress
from featurestore.storage.parts import HASH_DIGITS
from featurestore.storage.schemas import IMAGES, MAX_ID

# A file changed in the same instant as it was last read could look unchanged: such entries are not trusted.
RACY_NS = 2_000_000_000
FINGERPRINT = ("size_bytes", "mtime_ns", "ctime_ns", "inode")
CACHE_SCHEMA = pa.schema(
    [
        *(field for field in IMAGES),
        *(pa.field(name, pa.int64()) for name in ("mtime_ns", "ctime_ns", "inode")),
    ]
)


# Files read by one task of the pool: a task costs as much as reading a small file.
TASK_FILES = 16
# Rows held as dicts, each ten times as large as in a table.
TABLE_ROWS = 4096


@dataclass(frozen=True)
class Scan:
    """Rows of `images` in the order of folders and names; how many files had no image suffix, how many were read.

    ``seen`` is what `keep` writes; None when the cache holds it already.
    """

    table: pa.Table
    ignored: int
    read: int
    seen: pa.Table | None


def scan_folders(folders: Iterable[Path], *, cache: Path | None = None, on_progress: Progress | None = None) -> Scan:
    """Look at every image file in ``folders`` (not below them).

    Parameters
    ----------
    cache
        The folder in which `keep` leaves what was seen; a file whose size, times and inode are as they were is not
        read again.
    on_progress
        Called with the number of files done and of all files.

    Raises
    ------
    InputError
        When a folder is not there or holds no image file.
    """
    known = _read_cache(cache)
    started_ns = time.time_ns()
    entries: list[os.DirEntry[str]] = []
    ignored = 0
    for folder in folders:
        found, others = _list(folder)
        entries += found
        ignored += others
    marks = _fingerprints(entries)
    places = _unchanged(entries, marks, known)
    changed = np.flatnonzero(places < 0)
    rows = _read(entries, marks, changed.tolist(), on_progress)
    del entries, marks  # 0.3 kB a file
    # The rows of the cache, then the new ones; `order` brings them to the order of the entries.
    order = places.copy()
    order[changed] = known.num_rows + np.arange(len(changed))
    table, seen = known, None
    if len(changed) or not _is_sequence(order, known.num_rows):
        table = pa.concat_tables([known, rows]).take(from_numpy(order)).combine_chunks()
        seen = table.filter(pc.less(table["ctime_ns"], started_ns - RACY_NS))
    return Scan(_one_per_id(table.select(IMAGES.names)), ignored, len(changed), seen)


def keep(scan: Scan, cache: Path) -> None:
    """Write what ``scan`` saw to the folder ``cache``; it lies in the store, so that is for who holds the lock.

    The file is named by its hash, as the parts are: a flipped bit would give an image the hash or size of another.
    """
    if scan.seen is None:
        return
    make_folder(cache)
    sink = pa.BufferOutputStream()
    pq.write_table(scan.seen, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    path = cache / _cache_name(hashlib.sha256(content).hexdigest())
    write_atomic(path, content)
    for older in cache.glob(_cache_name("*")):
        if older != path:
            older.unlink(missing_ok=True)


def in_order(table: pa.Table) -> pa.Table:
    """A table of the schema `IMAGES` ordered by id, then name, those without an id last; in one chunk."""
    table = table.combine_chunks()
    if not table["ImgId"].null_count and bool((np.diff(to_numpy(table["ImgId"])) > 0).all()):
        return table  # as it is stored: no copy
    order = pc.sort_indices(table, sort_keys=[("ImgId", "ascending"), ("ImgName", "ascending")])
    return table.take(order).combine_chunks()


def _fingerprints(entries: Sequence[os.DirEntry[str]]) -> NDArray[np.int64]:
    """What `FINGERPRINT` names, a row each of ``entries``."""
    marks = array("q")
    for entry in entries:
        try:
            status = os.stat(entry.path)  # of what a link leads to: it may change while the link does not
        except OSError:
            status = os.lstat(entry.path)
        # Not `entry.stat`: the entry would keep the record, 0.8 kB a file
        marks.extend((status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return np.asarray(marks, np.int64).reshape(-1, len(FINGERPRINT))


def _unchanged(entries: Sequence[os.DirEntry[str]], marks: NDArray[np.int64], known: pa.Table) -> NDArray[np.int64]:
    """The row of ``known`` of each entry whose file is as it was, -1 where it must be read."""
    paths = pc.binary_join_element_wise(known["folder"], known["ImgName"], "/").combine_chunks()
    try:
        wanted = pa.array([entry.path for entry in entries], pa.string())
    except UnicodeEncodeError:
        wanted = pa.array([_printable(entry.path) for entry in entries], pa.string())
    if wanted.equals(paths):  # nothing came or went: no table of hashes
        places = np.arange(len(entries))
    else:
        places = to_numpy(pc.fill_null(pc.index_in(wanted, value_set=paths), -1)).astype(np.int64)
    same = places >= 0
    for column, name in enumerate(FINGERPRINT):
        same[same] = to_numpy(known[name])[places[same]] == marks[same, column]
    return np.where(same, places, -1)


def _is_sequence(order: NDArray[np.int64], rows: int) -> bool:
    return len(order) == rows and bool((order == np.arange(rows)).all())


def _read(
    entries: Sequence[os.DirEntry[str]],
    marks: NDArray[np.int64],
    wanted: Sequence[int],
    on_progress: Progress | None,
) -> pa.Table:
    """The rows of the entries with the numbers ``wanted``, read on all cores."""

    def read_some(numbers: Sequence[int]) -> list[dict[str, Any]]:
        return [_row(entries[number], marks[number].tolist()) for number in numbers]

    done = len(entries) - len(wanted)
    if on_progress:
        on_progress(done, len(entries))
    rows: list[dict[str, Any]] = []
    tables = [CACHE_SCHEMA.empty_table()]
    tasks = [wanted[start : start + TASK_FILES] for start in range(0, len(wanted), TASK_FILES)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for some in pool.map(read_some, tasks):
            rows += some
            done += len(some)
            if len(rows) >= TABLE_ROWS:
                tables.append(pa.Table.from_pylist(rows, schema=CACHE_SCHEMA))
                rows.clear()
            if on_progress:
                on_progress(done, len(entries))
    return pa.concat_tables([*tables, pa.Table.from_pylist(rows, schema=CACHE_SCHEMA)])


def _list(folder: Path) -> tuple[list[os.DirEntry[str]], int]:
    """The image files of ``folder``, by name, and the count of other files."""
    try:
        with os.scandir(folder) as iterator:
            files = [entry for entry in iterator if not entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        raise InputError(f"there is no folder {str(folder)!r}: name the one that holds <ImgId>.jpg") from None
    except NotADirectoryError:
        raise InputError(f"{str(folder)!r} is a file: name the folder that holds <ImgId>.jpg") from None
    except PermissionError:
        raise InputError(f"the folder {str(folder)!r} can't be read (permission denied): make it readable") from None
    images = sorted((entry for entry in files if _is_image(entry.name)), key=attrgetter("name"))
    if not images:
        raise InputError(
            f"{str(folder)!r} holds no image ({len(files)} other files): name the folder that holds <ImgId>.jpg"
        )
    if not any(_image_id(entry.name) is not None for entry in images):
        raise InputError(
            f"none of the {len(images)} images in {str(folder)!r} is named by a number (the first is "
            f"{images[0].name!r}): the name of a poster is its ImgId, as in 114709.jpg"
        )
    return images, len(files) - len(images)


def _is_image(name: str) -> bool:
    """Whether the suffix, as `os.path.splitext` has it, is that of an image; a sixth of its time."""
    stem, _, suffix = name.rpartition(".")
    return f".{suffix}".lower() in SUFFIXES and bool(stem.strip("."))


def _image_id(name: str) -> int | None:
    stem = os.path.splitext(name)[0]
    if stem.isascii() and stem.isdigit() and int(stem) <= MAX_ID:
        return int(stem)
    return None


def _row(entry: os.DirEntry[str], mark: Sequence[int]) -> dict[str, Any]:
    """The row of one file, which is read for it."""
    row: dict[str, Any] = dict.fromkeys(CACHE_SCHEMA.names) | dict(zip(FINGERPRINT, mark, strict=True))
    row |= {
        "ImgId": _image_id(entry.name),
        "ImgName": _printable(entry.name),
        "folder": os.path.dirname(entry.path),
        "content_hash": "",
        "status": "ok",
        "synthetic": False,
    }
    try:
        if entry.is_symlink():
            _refuse_escape(entry)
        if row["ImgId"] is None:
            raise ImageError("the name is not a number from 0 to 2147483647, so it names no ImgId")
        row |= vars(inspect(read_image(Path(entry.path))))
    except ImageError as error:
        row |= {"status": "broken", "reason": str(error)}
    except OSError as error:
        row |= {"status": "broken", "reason": f"the file can't be read: {error.strerror}"}
    return row


def _refuse_escape(entry: os.DirEntry[str]) -> None:
    folder = os.path.realpath(os.path.dirname(entry.path))
    if not os.path.realpath(entry.path).startswith(folder + os.sep):
        raise ImageError("a symbolic link that leads out of the folder")


def _printable(name: str) -> str:
    """File names are bytes; what is not UTF-8 is shown escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _one_per_id(table: pa.Table) -> pa.Table:
    """Quarantine every second file of one id."""
    ids = to_numpy(table["ImgId"].filter(pc.equal(table["status"], "ok")))
    if len(np.unique(ids)) == len(ids):
        return table
    taken: dict[int, str] = {}
    rows = []
    for row in table.to_pylist():
        if row["status"] == "ok":
            if row["ImgId"] in taken:
                first = taken[row["ImgId"]]
                row |= {"status": "broken", "reason": f"ImgId {row['ImgId']} is already that of {first}"}
            else:
                taken[row["ImgId"]] = row["ImgName"]
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=table.schema)


def _cache_name(sha256: str) -> str:
    return f"images-{sha256[:HASH_DIGITS]}.parquet"


def _read_cache(cache: Path | None) -> pa.Table:
    """What was seen before; empty where there is nothing, or nothing of use: it is disposable."""
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
