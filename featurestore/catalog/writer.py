"""One writer at a time: the lock, and the commit that swaps the state once all its tables are on disk."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.catalog.connection import write_shell_file
from featurestore.errors import InputError, IntegrityError, StoreError, StoreNotFound, in_one_line
from featurestore.files import write_atomic
from featurestore.storage.layout import is_published, list_table, read_layout, write_cache
from featurestore.storage.lock import HOLDER_FILE, LOCK_FILE, locked, replaced
from featurestore.storage.names import check_names, inside, well_named
from featurestore.storage.parts import Part, check_part, digest, read_part, write_part
from featurestore.storage.schemas import CORE_TABLES, PARTITIONS
from featurestore.storage.state import STATE_FILE, State, read_state


class Commit:
    """Changes to several tables that become visible together, or not at all.

    Parts are written at once, under names that nobody reads; `publish` makes them part of the state. ``check`` is
    `Writer.check`; who only asks for the `current` parts needs none.
    """

    def __init__(self, root: Path, state: State, check: Callable[[], None] = lambda: None) -> None:
        self.root = root
        self.state = state
        self._check = check
        self._add: dict[str, list[Part]] = {}
        self._remove: dict[str, list[Part]] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._revisions: dict[str, str] = {}
        self._settings: dict[str, int] = {}
        self._views: dict[str, str] = dict(state.views)

    def current(self, table: str) -> list[Part]:
        """The parts of ``table`` in the state this commit starts from."""
        return list_table(self.root, self.state, table) if table in self.state.tables else []

    def replace(self, table: str, rows: pa.Table) -> None:
        """Make ``rows`` the whole of ``table``; where they are that already, whole and unharmed, nothing is written."""
        current = self.current(table)
        if len(current) == 1 and _holds(self.root / table, current[0], rows):
            return
        self.append(table, rows)
        self._remove[table] = current

    def append(self, table: str, rows: pa.Table, *, partition: Mapping[str, str] | None = None) -> None:
        """Add ``rows`` to ``table``, which is created on first use; for embeddings, into one ``partition``."""
        if table not in self.state.tables:  # before anything is written, not at the end
            check_names([*self.state.tables, table], self.state.revisions, self._well_named())
        inside(self.root, self.root / table)
        self._schemas[table] = CORE_TABLES.get(table, rows.schema)
        self._add.setdefault(table, []).append(write_part(rows, self.root / table, partition=partition))

    def swap(self, table: str, *, add: list[Part], remove: list[Part]) -> None:
        """Put parts that are already written in the place of others that hold the same rows."""
        first = add[0].path
        self._schemas[table] = CORE_TABLES.get(table) or pq.read_schema(self.root / table / first)
        self._add.setdefault(table, []).extend(add)
        self._remove.setdefault(table, []).extend(remove)

    def drop(self, table: str, part: Part) -> None:
        """Take ``part`` and its rows out of one of the tables that every store has."""
        self._schemas[table] = CORE_TABLES[table]
        self._remove.setdefault(table, []).append(part)

    def set_revision(self, backbone: str, revision: str) -> None:
        """Let the views of ``backbone`` show ``revision``."""
        self._revisions[backbone] = revision

    def set_setting(self, name: str, value: int) -> None:
        """Change a setting of the store."""
        self._settings[name] = value

    def set_view(self, name: str, query: str | None) -> None:
        """Let ``name`` be a view of ``query``; None removes it. The query must have been checked."""
        if query is None:
            self._views.pop(name, None)
        else:
            self._views[name] = query

    def _well_named(self) -> list[str]:
        """The views that can be made: what a record was made to say by hand must not stop the next commit."""
        return well_named(self.state.tables, self.state.revisions, self._views)

    def publish(self) -> State:
        """Commit each table, then swap the state; a commit that changes nothing leaves the state as it is.

        Raises
        ------
        InputError
            When a new table, backbone or view is called what another is called; then nothing is changed.
        StoreError
            When the store is not the one that this commit started from.
        """
        from featurestore.storage.tables import commit_parts

        self._check()
        revisions = {**self.state.revisions, **self._revisions}
        check_names([*self.state.tables, *self._schemas], revisions, self._well_named())
        versions, digests = dict(self.state.tables), dict(self.state.digests)
        for table, schema in self._schemas.items():
            digests[table] = digest(self._after(table))
            versions[table] = commit_parts(
                inside(self.root, self.root / table),
                schema=schema,
                partition_by=PARTITIONS.get(table, ()),
                version=self.state.tables.get(table),
                add=self._add.get(table, ()),
                remove=self._remove.get(table, ()),
            )
        settings = {**self.state.settings, **self._settings}
        changes = {"tables": versions, "revisions": revisions, "settings": settings, "views": self._views}
        changes["digests"] = digests
        if all(dict(getattr(self.state, name)) == value for name, value in changes.items()):
            return self.state
        state = self.state.next(**changes)
        self._check()
        write_atomic(self.root / STATE_FILE, state.to_json().encode())
        return state

    def _after(self, table: str) -> list[Part]:
        """The parts of ``table`` once this commit is published."""
        removed = {part.path for part in self._remove.get(table, ())}
        parts = {part.path: part for part in self.current(table) if part.path not in removed}
        return list((parts | {part.path: part for part in self._add.get(table, ())}).values())


def _holds(folder: Path, part: Part, rows: pa.Table) -> bool:
    """Whether ``part`` is undamaged and holds these very ``rows``; comparing them takes half the time of writing."""
    try:
        check_part(part, folder)
        return bool(read_part(folder / part.path).equals(rows))
    except (IntegrityError, OSError):  # then it is written anew, which mends it
        return False


class Writer:
    """The right to write to the store in ``root``; get one from `open_writer`."""

    def __init__(self, root: Path, state: State, is_locked: Callable[[], bool]) -> None:
        self.root = root
        self.state = state
        self._is_locked = is_locked

    def check(self) -> None:
        """Refuse to go on in another store than the one that was opened, or in another state than the one left.

        Raises
        ------
        StoreError
            When the folder was removed or replaced, or somebody put another state there.
        """
        if not self._is_locked() or _read_or_empty(self.root).id != self.state.id:
            raise replaced(self.root)

    def check_backbone(self, name: str) -> None:
        """Refuse a backbone whose views would be called what others are.

        Raises
        ------
        InputError
            With the name, and what has it.
        """
        state = self.state
        views = well_named(state.tables, state.revisions, state.views)
        check_names(state.tables, [*state.revisions, name], views)

    @contextmanager
    def commit(self) -> Iterator[Commit]:
        """Collect changes in the block and publish them at its end; an exception in the block publishes nothing."""
        self.check()
        commit = Commit(self.root, self.state, self.check)
        yield commit
        self.state = commit.publish()


@contextmanager
def open_writer(root: Path, *, create: bool = False, wait_seconds: float = 0.0, purpose: str = "") -> Iterator[Writer]:
    """Lock the store in ``root`` for one writer.

    Parameters
    ----------
    create
        Make a new store when ``root`` is empty or not there.
    wait_seconds
        How long to wait for another writer.
    purpose
        What is being done, for those who are told to wait.

    Raises
    ------
    StoreLocked
        When another process writes and did not end in time.
    StoreNotFound, StoreError
        When there is no store and ``create`` is False, ``root`` is full of something else, or it can't be written.
    """
    with _writing(root):
        if create:
            check_room(root)
            root.mkdir(parents=True, exist_ok=True)
        elif not (root / STATE_FILE).is_file():
            read_state(root)
        with locked(root, wait_seconds=wait_seconds, purpose=purpose) as is_locked:
            writer = Writer(root, _read_or_empty(root), is_locked)
            try:
                yield writer
            except BaseException:
                with suppress(OSError, duckdb.Error, StoreError):  # what went wrong before is what is told
                    if _is_behind(root, writer.state):
                        writer.check()
                        publish_layout(root, writer.state)
                raise
            else:
                _catch_up(writer)


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Whatever the file system refuses in the block becomes one sentence; a commit ends with the state swap."""
    try:
        yield
    except BrokenPipeError:  # who reads our output went away: no fault of the store
        raise
    except OSError as error:
        raise StoreError(
            f"the store {str(root)!r} can't be written ({error.strerror or in_one_line(error)}): what was committed is "
            "whole; free space or make the folder writable, and run the command again"
        ) from error


def _is_behind(root: Path, state: State) -> bool:
    """Whether the disposable files beside a state are of an older one."""
    return state.number > 0 and not is_published(root, state)


def _catch_up(writer: Writer) -> None:
    """Publish the layout where the writer, or one that died, has not: the commit stands without it."""
    if _is_behind(writer.root, writer.state):
        writer.check()
        renew(writer.root, writer.state)


def renew(root: Path, state: State) -> None:
    """`publish_layout`, or a warning that it can't be done: what lies beside the state is disposable."""
    try:
        publish_layout(root, state)
    except (OSError, duckdb.Error) as error:
        warnings.warn(
            f"store.duckdb shows an older state until the next command that writes: {in_one_line(error)}", stacklevel=2
        )


def publish_layout(root: Path, state: State) -> None:
    """Bring the disposable files that stand beside a state up to date: the shell's database, then its parts."""
    layout = read_layout(root, state)
    (root / "cache").mkdir(exist_ok=True)
    write_shell_file(layout, root)
    write_cache(root, layout)


def check_room(root: Path) -> None:
    """Refuse a place that is neither a store nor free for one; nothing is made.

    Raises
    ------
    InputError
        When ``root`` is a file, or a folder that holds other things.
    """
    if root.exists() and not root.is_dir():
        raise InputError(f"{str(root)!r} is a file: the store needs a folder, name another with --store")
    odd = sorted({letter for letter in str(root.resolve()) if letter in "\\?" or not letter.isprintable()})
    if odd:
        raise InputError(
            f"{str(root)!r} holds {odd[0]!r}, which Delta or DuckDB can't have in a path: name another folder"
        )
    if not root.exists() or (root / STATE_FILE).is_file():
        return
    ours = {LOCK_FILE, HOLDER_FILE, *CORE_TABLES, "cache", "staging"}
    strangers = sorted(
        entry.name for entry in root.iterdir() if entry.name not in ours and not entry.name.endswith(".tmp")
    )
    if strangers:
        raise InputError(
            f"{str(root)!r} holds no store but other things ({', '.join(strangers[:3])}): name an empty folder"
        )


def _read_or_empty(root: Path) -> State:
    try:
        return read_state(root)
    except StoreNotFound:
        return State()
