"""Results that can't be stored yet, since another process writes: files in the store's folder until they are stored.

A batch is the rows of one or more tables that are stored in one commit. A file holds one batch, as one Arrow stream
for each table, whose schema carries the table's name; the file's name carries the checksum of its bytes.
"""

import hashlib
import os
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout

from benchmarks.results.schemas import CELLS, COSTS, PREDICTIONS, SCORES
from featurestore import FeatureStore
from featurestore.errors import InputError, StoreLocked, reason
from featurestore.files import make_folder, open_file, why, write_atomic

# No table has a name that starts with a dot.
FOLDER = ".bench-pending"
Batch = dict[str, pa.Table]
SCHEMAS = {"bench_cells": CELLS, "bench_scores": SCORES, "bench_predictions": PREDICTIONS, "bench_costs": COSTS}
_CONTENTS = (("bench_cells", "bench_scores", "bench_predictions"), ("bench_costs",))
# The columns that tell the rows of one batch from those of any other, in the first table of a batch.
_IDENTITY = {"bench_cells": ("cell", "finished_at"), "bench_costs": ("model", "measured_at")}
_NAME = b"table"


@dataclass
class _Entry:
    """A batch, its file where it has one, and whether an attempt to store it may have succeeded."""

    batch: Batch
    path: Path | None = None
    doubtful: bool = False


class Pending:
    """The batches of one run that are not stored yet, in order; a context manager that ends its claim on its files.

    While another process holds the store's lock they are kept in files, so that nothing is lost when this process is
    killed. A lock file beside them says that their owner runs; `adopt` takes those of owners that have ended.
    """

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        self.folder = store.path / FOLDER
        self._owner = uuid.uuid4().hex
        self._entries: list[_Entry] = []
        self._locks: dict[str, FileLock] = {}
        self._kept = 0

    def __enter__(self) -> "Pending":
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, batch: Batch) -> None:
        """Put ``batch`` behind the others; its first table is one of ``bench_cells`` and ``bench_costs``."""
        self._entries.append(_Entry(batch))

    def adopt(self) -> None:
        """Take the files that were kept by runs that have ended.

        Raises
        ------
        InputError
            When one can't be read.
        """
        for owner in sorted({path.stem.partition("-")[0] for path in self.folder.glob("*-*.arrow")}):
            if self._claimed(owner):
                paths = sorted(self.folder.glob(f"{owner}-*.arrow"))
                self._entries += [_Entry(_read(path), path, doubtful=True) for path in paths]

    def store_all(self, *, wait_seconds: float) -> None:
        """Store all batches in one commit and remove their files.

        Raises
        ------
        StoreLocked
            When another process writes for longer than ``wait_seconds``; the batches are in files then.
        """
        if not self._entries:
            return
        missing = [one for one in self._entries if not (one.doubtful and self._is_stored(one.batch))]
        for one in missing:
            one.doubtful = True
        try:
            if missing:
                self.store.append(_joined([one.batch for one in missing]), wait_seconds=wait_seconds)
        except StoreLocked as error:
            for one in missing:
                one.doubtful = False  # nothing was written
            if not self._keep():
                raise
            raise StoreLocked(
                f"{error}; what this run has computed is kept in {str(self.folder)!r} until then: the next "
                "`benchmarks run` of this store adds it"
            ) from None
        stored, self._entries = self._entries, []
        for one in stored:
            if one.path is not None:
                one.path.unlink(missing_ok=True)
        self._release()

    def _is_stored(self, batch: Batch) -> bool:
        """Whether the commit of ``batch`` has been made, although the process ended before it removed the file."""
        name, table = next(iter(batch.items()))
        if not self.store.refresh().has(name):
            return False
        key, time = _IDENTITY[name]
        found = self.store.sql(
            f"SELECT 1 FROM {name} WHERE {key} = ? AND epoch_us({time}) = ? LIMIT 1",
            [table[key][0].as_py(), table[time][0].value],
        )
        return len(found) > 0

    def _keep(self) -> bool:
        """Write a file of each batch that has none; False where the disk refuses: they stay in memory."""
        try:
            make_folder(self.folder)
            if not self._claim(self._owner):
                return False
            for one in self._entries:
                if one.path is None:
                    content = _to_bytes(one.batch)
                    path = self.folder / f"{self._owner}-{self._kept:06d}-{_checksum(content)}.arrow"
                    write_atomic(path, content)
                    one.path = path
                    self._kept += 1
        except OSError:
            return False
        return True

    def _claimed(self, owner: str) -> bool:
        """`_claim` of files that lie in the store, which may be a stranger's: a lock that is a link is not followed."""
        try:
            return self._claim(owner)
        except OSError as error:
            raise InputError(
                f"the results that an earlier run kept in {str(self.folder)!r} can't be locked ({why(error)[:160]}): "
                "move the folder out of the store, and its cells are computed again"
            ) from error

    def _claim(self, owner: str) -> bool:
        """Whether the files of ``owner`` are this process's from now on."""
        if owner not in self._locks:
            lock = FileLock(self.folder / f"{owner}.lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                return False
            self._locks[owner] = lock
        return True

    def _release(self) -> None:
        """Give up all claims; a folder in which nothing is left is removed."""
        for owner, lock in self._locks.items():
            if not any(self.folder.glob(f"{owner}-*.arrow")):
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()
        self._locks = {}
        with suppress(OSError):  # it was never made, or others have files in it
            os.rmdir(self.folder)


def _joined(batches: Sequence[Batch]) -> Batch:
    names = dict.fromkeys(name for batch in batches for name in batch)
    return {name: pa.concat_tables([batch[name] for batch in batches if name in batch]) for name in names}


def _to_bytes(batch: Batch) -> bytes:
    sink = pa.BufferOutputStream()
    for name, table in batch.items():
        with pa.ipc.new_stream(sink, table.schema.with_metadata({_NAME: name})) as writer:
            writer.write_table(table)
    return sink.getvalue().to_pybytes()


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _read(path: Path) -> Batch:
    batch: Batch = {}
    try:
        with open_file(path) as file:
            content = file.read()
        if not path.stem.endswith(f"-{_checksum(content)}"):
            raise ValueError("its bytes have changed")
        source = pa.BufferReader(content)
        while source.tell() < len(content):
            table = pa.ipc.open_stream(source).read_all()
            batch[(table.schema.metadata or {}).get(_NAME, b"").decode()] = table.replace_schema_metadata(None)
        if tuple(batch) not in _CONTENTS or any(not batch[name].schema.equals(SCHEMAS[name]) for name in batch):
            raise ValueError("its tables are not those of results")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"the results that an earlier run kept in {str(path)!r} can't be read ({reason(error)[:120]}): move the "
            "file out of the store, and its cells are computed again"
        ) from error
    return batch
