"""Delta Lake tables: which parts make up a version; the only module that imports deltalake."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from deltalake.schema import Schema
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions

from featurestore.errors import InputError, IntegrityError, StoreError, in_one_line
from featurestore.files import sync_folder
from featurestore.storage.parts import Part, recorded_part

LOG_ENTRIES = 32


def list_parts(folder: Path, version: int) -> list[Part]:
    """The parts of the table in ``folder`` at ``version``, sorted by path.

    Raises
    ------
    IntegrityError
        When the log of that version can't be read, or names files that are no parts of the table.
    """
    with _reading(folder, version):
        actions = pa.table(DeltaTable(str(folder), version=version).get_add_actions())
    where = f"the log of {folder}"
    parts = [
        recorded_part(
            where, unquote(row["path"]), row.get("num_records"), row.get("size_bytes"), row.get("partition") or {}
        )
        for row in actions.to_pylist()
    ]
    return sorted(parts, key=lambda part: part.path)


def logged_schema(folder: Path, version: int) -> pa.Schema:
    """The columns that the log of the table in ``folder`` names at ``version``; raises as `list_parts`."""
    with _reading(folder, version):
        return pa.schema(DeltaTable(str(folder), version=version).schema().to_arrow())


@contextmanager
def _reading(folder: Path, version: int) -> Iterator[None]:
    """Whatever is wrong with the log of ``folder`` at ``version`` becomes one sentence."""
    try:
        # The library counts up to any version that it is asked for, for years.
        if version > max((_entry(path) for path in (folder / "_delta_log").iterdir()), default=-1.0):
            raise FileNotFoundError("its newest is older")
        yield
    except (DeltaError, TableNotFoundError, OSError) as error:
        raise IntegrityError(
            f"the log of {folder} has no version {version} ({in_one_line(error)[:200]}): restore it from a copy"
        ) from error


def check_logged(schema: pa.Schema) -> None:
    """Refuse columns that a log can't name.

    Raises
    ------
    InputError
        With what the library says of them.
    """
    try:
        Schema.from_arrow(schema)
    except Exception as error:  # it has no type of error of its own for this
        raise InputError(f"Delta Lake has no type for it: {in_one_line(error)[:160]}") from error


def commit_parts(
    folder: Path,
    *,
    schema: pa.Schema,
    partition_by: Sequence[str],
    version: int | None,
    add: Sequence[Part],
    remove: Sequence[Part] = (),
) -> int:
    """Publish one change of the table in ``folder`` and return its new version.

    ``version`` is what the state refers to (None: the table is not part of it). Commits that came later belong to
    a writer that died before it swapped the state: they are undone first, so that their rows never surface.

    Raises
    ------
    StoreError
        When the log can't be written.
    """
    with _logged(folder):
        return _commit(folder, schema=schema, partition_by=partition_by, version=version, add=add, remove=remove)


@contextmanager
def _logged(folder: Path) -> Iterator[None]:
    """Make what the block adds to the log of ``folder`` survive a power cut: the library leaves that to the system."""
    log = folder / "_delta_log"
    before = {path.name for path in log.iterdir()} if log.is_dir() else set()
    try:
        yield
    except DeltaError as error:
        raise StoreError(
            f"the log of {folder} can't be written ({in_one_line(error)}): what was committed is whole; free space or "
            "make the folder writable, and run the command again"
        ) from error
    for path in log.iterdir():
        if path.name not in before or path.name == "_last_checkpoint":
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_folder(log)


def _commit(
    folder: Path,
    *,
    schema: pa.Schema,
    partition_by: Sequence[str],
    version: int | None,
    add: Sequence[Part],
    remove: Sequence[Part],
) -> int:
    adds = [_add_action(part) for part in add]
    delta_schema = Schema.from_arrow(schema)
    if not DeltaTable.is_deltatable(str(folder)):
        create_table_with_add_actions(
            str(folder), delta_schema, adds, mode="error", partition_by=list(partition_by) or None
        )
        return 0
    table = DeltaTable(str(folder))
    if version is None:
        remove = list_parts(folder, table.version())
    elif table.version() != version:
        table.restore(version)
        table.update_incremental()
    # A part that stays is neither removed nor added again.
    kept = {part.path for part in add} & {part.path for part in remove}
    actions: list[AddAction | RemoveAction] = [a for a in adds if a.path not in kept]
    actions += [_remove_action(part) for part in remove if part.path not in kept]
    if actions:
        table.create_write_transaction(
            actions, mode="append", schema=delta_schema, partition_by=list(partition_by) or None
        )
        table.update_incremental()
    return table.version()


def _add_action(part: Part) -> AddAction:
    return AddAction(
        path=part.path,
        size=part.size_bytes,
        partition_values=part.partition,
        modification_time=_now_ms(),
        data_change=True,
        stats=json.dumps({"numRecords": part.rows}),
    )


def _remove_action(part: Part) -> RemoveAction:
    return RemoveAction(
        path=part.path,
        data_change=True,
        deletion_timestamp=_now_ms(),
        size=part.size_bytes,
        partition_values=dict(part.partition),
    )


def _now_ms() -> int:
    return int(time.time() * 1000)


def trim_log(folder: Path, version: int | None, oldest: int) -> None:
    """Remove log entries before version ``oldest``, which nothing refers to, where they take room.

    ``version`` is that of the state; what a killed writer committed after it is undone. A checkpoint takes the place of
    the entries, so that fewer than `LOG_ENTRIES` are left alone.
    """
    with _logged(folder):
        table = DeltaTable(str(folder))
        if version is not None and table.version() != version:
            table.restore(version)
        old = [path for path in (folder / "_delta_log").iterdir() if _entry(path) < oldest]
        if len(old) < LOG_ENTRIES:
            return
        DeltaTable(str(folder), version=oldest).create_checkpoint()
    for path in old:
        path.unlink()


def _entry(path: Path) -> float:
    """The version that a file of the log belongs to; NaN, which compares with nothing, for files of none."""
    number = path.name.split(".", 1)[0]
    return int(number) if number.isdigit() else float("nan")
