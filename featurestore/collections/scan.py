"""Scans folders of `<ImgId>.jpg` into rows of the table `images`; unchanged files come from a disposable cache."""

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
from featurestore.collections.formats import SUFFIXES
from featurestore.collections.images import inspect, read_image
from featurestore.errors import ImageError, ImageNeedsExtra, InputError
from featurestore.files import file_hash, make_folder, write_atomic
from featurestore.progress import Progress
from featurestore.storage.parts import HASH_DIGITS
from featurestore.storage.schemas import IMAGES, MAX_ID

# A file changed within the clock's resolution of its last read could look unchanged: such entries are not used.
RACY_NS = 2_000_000_000
FINGERPRINT = ("size_bytes", "mtime_ns", "ctime_ns", "inode")
# The time of change that no file has: its entry is not used, since the file is read again at the next scan.
NEVER = -(1 << 63)
CACHE_SCHEMA = pa.schema(
    [
        *(field for field in IMAGES),
        *(pa.field(name, pa.int64()) for name in ("mtime_ns", "ctime_ns", "inode")),
    ]
)


# Files per task of the pool: the overhead of a task is that of reading a small file.
TASK_FILES = 16
# Rows held as dicts, which take ten times the memory of a table.
TABLE_ROWS = 4096


@dataclass(frozen=True)
class Scan:
    """Rows of `images` ordered by folder and name; the number of files without an image suffix, and of files read.

    ``seen`` is the table that `keep` writes to the cache; None when the cache is up to date.
    """

    table: pa.Table
    ignored: int
    read: int
    seen: pa.Table | None


def scan_folders(folders: Iterable[Path], *, cache: Path | None = None, on_progress: Progress | None = None) -> Scan:
    """Scan every image file in ``folders`` (not in their subfolders).

    Parameters
    ----------
    cache
        The folder to which `keep` writes the results; a file with unchanged size, times and inode is not read again.
    on_progress
        Called with the number of files done and of all files.

    Raises
    ------
    InputError
        When a folder does not exist or holds no image file.
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
    del entries, marks  # 0.3 kB per file
    # The rows of the cache, then the new ones; `order` sorts them as the entries.
    order = places.copy()
    order[changed] = known.num_rows + np.arange(len(changed))
    table, seen = known, None
    if len(changed) or not _is_sequence(order, known.num_rows):
        table = pa.concat_tables([known, rows]).take(from_numpy(order)).combine_chunks()
        seen = table.filter(pc.less(table["ctime_ns"], started_ns - RACY_NS))
    return Scan(_one_per_id(table.select(IMAGES.names)), ignored, len(changed), seen)


def keep(scan: Scan, cache: Path) -> None:
    """Write the results of ``scan`` to the folder ``cache``, which is in the store: the caller must hold the lock.

    The file is named by its hash, as parts are, so that damage is detected: it could give an image a wrong hash.
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
    """A table of the schema `IMAGES` sorted by id, then name, rows without an id last; in one chunk."""
    table = table.combine_chunks()
    if not table["ImgId"].null_count and bool((np.diff(to_numpy(table["ImgId"])) > 0).all()):
        return table  # already sorted: no copy
    order = pc.sort_indices(table, sort_keys=[("ImgId", "ascending"), ("ImgName", "ascending")])
    return table.take(order).combine_chunks()


def _fingerprints(entries: Sequence[os.DirEntry[str]]) -> NDArray[np.int64]:
    """The fields in `FINGERPRINT`, one row for each of ``entries``: ``(n, fields)`` int64."""
    marks = array("q")
    for entry in entries:
        try:
            status = os.stat(entry.path)  # of a link's target, which may change while the link does not
        except OSError:
            status = os.lstat(entry.path)
        # Not `entry.stat`: the entry would cache the result, 0.8 kB per file
        marks.extend((status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
    return np.asarray(marks, np.int64).reshape(-1, len(FINGERPRINT))


def _unchanged(entries: Sequence[os.DirEntry[str]], marks: NDArray[np.int64], known: pa.Table) -> NDArray[np.int64]:
    """The row in ``known`` of each entry whose file is unchanged, -1 where it must be read: ``(n,)`` int64."""
    paths = pc.binary_join_element_wise(known["folder"], known["ImgName"], "/").combine_chunks()
    try:
        wanted = pa.array([entry.path for entry in entries], pa.string())
    except UnicodeEncodeError:
        wanted = pa.array([_printable(entry.path) for entry in entries], pa.string())
    if wanted.equals(paths):  # same files as before: no hash table needed
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
    """Read the entries with the indices ``wanted`` on all cores, and return their rows."""

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
    """The image files of ``folder``, sorted by name, and the number of other files."""
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
    """Whether the suffix is that of an image; as `os.path.splitext` finds it, in a sixth of the time."""
    stem, _, suffix = name.rpartition(".")
    return f".{suffix}".lower() in SUFFIXES and bool(stem.strip("."))


def _image_id(name: str) -> int | None:
    stem = os.path.splitext(name)[0]
    if stem.isascii() and stem.isdigit() and int(stem) <= MAX_ID:
        return int(stem)
    return None


def _row(entry: os.DirEntry[str], mark: Sequence[int]) -> dict[str, Any]:
    """Read one file and return its row."""
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
    except ImageNeedsExtra as error:
        row |= {"status": "broken", "reason": str(error), "mtime_ns": NEVER}
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
    """A file name as text; bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _one_per_id(table: pa.Table) -> pa.Table:
    """Quarantine all but the first file of each id."""
    ids = to_numpy(table["ImgId"].filter(pc.equal(table["status"], "ok")))
    if len(np.unique(ids)) == len(ids):
        return table
    taken: dict[int, str] = {}
    rows = []
    for row in table.to_pylist():
        if row["status"] == "ok":
            if row["ImgId"] in taken:
                first = taken[row["ImgId"]]
                row |= {"status": "broken", "reason": f"ImgId {row['ImgId']} is already used by {first}"}
            else:
                taken[row["ImgId"]] = row["ImgName"]
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=table.schema)


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
