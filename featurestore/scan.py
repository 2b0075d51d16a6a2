"""A folder of `<ImgId>.jpg` becomes rows of the table `images`; a disposable cache spares unchanged files."""

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.errors import ImageError, InputError
from featurestore.images import SUFFIXES, inspect
from featurestore.progress import Progress
from featurestore.schemas import IMAGES
from featurestore.state import write_atomic

MAX_ID = 2**31 - 1
# A file changed in the same instant as it was last read could look unchanged: such entries are not trusted.
RACY_NS = 2_000_000_000
FINGERPRINT = ("size_bytes", "mtime_ns", "ctime_ns", "inode")
CACHE_SCHEMA = pa.schema(
    [
        *(field for field in IMAGES),
        *(pa.field(name, pa.int64()) for name in ("mtime_ns", "ctime_ns", "inode")),
    ]
)


@dataclass(frozen=True)
class Scan:
    """Rows of `images` in the order of their names, and how many files had no image suffix."""

    rows: list[dict[str, Any]]
    ignored: int
    read: int


def scan_folders(folders: Iterable[Path], *, cache: Path | None = None, on_progress: Progress | None = None) -> Scan:
    """Look at every image file in ``folders`` (not below them).

    Parameters
    ----------
    cache
        A Parquet file of what was seen before; a file whose size, times and inode are as they were is not read
        again. It is written anew at the end.
    on_progress
        Called with the number of files done and of all files.

    Raises
    ------
    InputError
        When a folder is not there or holds no image file.
    """
    known = _read_cache(cache)
    started_ns = time.time_ns()
    entries, ignored = [], 0
    for folder in folders:
        found, others = _list(folder)
        entries += found
        ignored += others
    rows, read = [], 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for row, was_read in pool.map(lambda entry: _row(entry, known), entries, chunksize=64):
            rows.append(row)
            read += was_read
            if on_progress:
                on_progress(len(rows), len(entries))
    if cache and (read or len(known) != len(rows)):
        _write_cache(cache, [row for row in rows if row["ctime_ns"] < started_ns - RACY_NS])
    return Scan(_one_per_id(rows), ignored, read)


def images_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of the schema `IMAGES`, ordered by id, then name."""
    ordered = sorted(rows, key=lambda row: (row["ImgId"] is None, row["ImgId"] or 0, row["ImgName"]))
    names = IMAGES.names
    return pa.Table.from_pylist([{name: row[name] for name in names} for row in ordered], schema=IMAGES)


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
    images = sorted((e for e in files if os.path.splitext(e.name)[1].lower() in SUFFIXES), key=lambda e: e.name)
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


def _image_id(name: str) -> int | None:
    stem = os.path.splitext(name)[0]
    if stem.isascii() and stem.isdigit() and int(stem) <= MAX_ID:
        return int(stem)
    return None


def _row(entry: os.DirEntry[str], known: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], bool]:
    """The row of one file, and whether the file was read for it."""
    stat = entry.stat(follow_symlinks=False)
    facts = {
        "size_bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "ctime_ns": stat.st_ctime_ns,
        "inode": stat.st_ino,
    }
    before = known.get(entry.path)
    if before and all(before[name] == facts[name] for name in FINGERPRINT):
        return before, False
    row: dict[str, Any] = dict.fromkeys(CACHE_SCHEMA.names) | facts
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
        row |= vars(inspect(Path(entry.path).read_bytes()))
    except ImageError as error:
        row |= {"status": "broken", "reason": str(error)}
    except OSError as error:
        row |= {"status": "broken", "reason": f"the file can't be read: {error.strerror}"}
    return row, True


def _refuse_escape(entry: os.DirEntry[str]) -> None:
    folder = os.path.realpath(os.path.dirname(entry.path))
    if not os.path.realpath(entry.path).startswith(folder + os.sep):
        raise ImageError("a symbolic link that leads out of the folder")


def _printable(name: str) -> str:
    """File names are bytes; what is not UTF-8 is shown escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _one_per_id(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Quarantine every second file of one id."""
    taken: dict[int, str] = {}
    result = []
    for row in rows:
        if row["status"] == "ok":
            first = taken.setdefault(row["ImgId"], row["ImgName"])
            if first is not row["ImgName"]:
                row = row | {"status": "broken", "reason": f"ImgId {row['ImgId']} is already that of {first}"}
        result.append(row)
    return result


def _read_cache(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None or not path.is_file():
        return {}
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException):
        return {}  # disposable: without it every file is read again
    if table.schema.names != CACHE_SCHEMA.names:
        return {}
    return {os.path.join(row["folder"], row["ImgName"]): row for row in _records(table)}


def _records(table: pa.Table) -> Iterator[dict[str, Any]]:
    columns = [column.to_pylist() for column in table.columns]
    for values in zip(*columns, strict=True):
        yield dict(zip(table.column_names, values, strict=True))


def _write_cache(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=CACHE_SCHEMA), sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())
