"""Writer: the single holder of a store's lock, with the state that its next commit starts from."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from featurestore.catalog.commit import Commit
from featurestore.catalog.recipe import BUILT_IN, own_names
from featurestore.catalog.shell_file import SHELL_FILE, write_shell_file
from featurestore.errors import InputError, StoreError, StoreNotFound, in_one_line
from featurestore.storage.layout import Layout
from featurestore.storage.lock import HOLDER_FILE, LOCK_FILE, locked, replaced
from featurestore.storage.names import check_names, well_named
from featurestore.storage.state import STATE_FILE, State, read_state


class Writer:
    """The right to write to the store in ``root``; get one from `open_writer`."""

    def __init__(self, root: Path, state: State, is_locked: Callable[[], bool]) -> None:
        self.root = root
        self.layout = Layout(root, state)
        self._is_locked = is_locked

    @property
    def state(self) -> State:
        """The state that the next commit starts from."""
        return self.layout.state

    def check(self) -> None:
        """Refuse to go on if the folder holds another store than the one opened, or its state was changed by others.

        Raises
        ------
        StoreError
            When the folder was removed or replaced, or another process changed the state.
        """
        if not self._is_locked() or _read_or_empty(self.root).commit != self.state.commit:
            raise replaced(self.root)

    def check_backbone(self, name: str) -> None:
        """Refuse a backbone whose views would have names that are in use.

        Raises
        ------
        InputError
            With the name, and what uses it.
        """
        state = self.state
        own = own_names(state.collection)
        views = well_named(state.tables, state.revisions, state.views, own=own)
        check_names(state.tables, [*state.revisions, name], views, own=own)

    @contextmanager
    def commit(self) -> Iterator[Commit]:
        """Collect changes in the block and publish them at its end; nothing is published if the block raises."""
        self.check()
        commit = Commit(self.layout, self.check)
        yield commit
        state = commit.publish()
        if state is not self.state:
            self.layout = Layout(self.root, state)


@contextmanager
def open_writer(
    root: Path, *, create: bool = False, wait_seconds: float = 0.0, purpose: str = "", renew: bool = True
) -> Iterator[Writer]:
    """Lock the store in ``root`` for one writer.

    Parameters
    ----------
    create
        Create a new store if ``root`` is empty or does not exist.
    wait_seconds
        How many seconds to wait for another writer.
    purpose
        What is being done, for the message that other writers get.
    renew
        Whether to update store.duckdb at the end; if not, a later writer of the same command must.

    Raises
    ------
    StoreLocked
        When another process is writing and did not finish in time.
    StoreNotFound, StoreError
        When there is no store and ``create`` is False, ``root`` holds other files, or it can't be written.
    """
    with writing(root):
        if create:
            check_room(root)
            root.mkdir(parents=True, exist_ok=True)
        elif not (root / STATE_FILE).is_file():
            read_state(root)
        with locked(root, wait_seconds=wait_seconds, purpose=purpose) as is_locked:
            writer = Writer(root, _read_or_empty(root), is_locked)
            try:
                yield writer
            finally:
                with suppress(StoreError):  # the folder now holds another store: leave that one alone
                    writer.check()
                    if renew:
                        renew_shell_file(root, writer.state)


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turn errors of the file system in the block into one sentence; committed data is safe once the state was swapped.

    Raises
    ------
    StoreError
        In place of an OSError.
    """
    try:
        yield
    except BrokenPipeError:  # the reader of our output has ended: not an error of the store
        raise
    except OSError as error:
        raise StoreError(
            f"the store {str(root)!r} can't be written ({error.strerror or in_one_line(error)}): earlier commits "
            "are safe; free space or make the folder writable, and run the command again"
        ) from error


def renew_shell_file(root: Path, state: State, *, always: bool = False) -> None:
    """Write ``store.duckdb`` if it is older than the state; it is disposable, so that a failure is only a warning.

    Parameters
    ----------
    always
        Write it whatever its age: a damaged one may be newer than the state.
    """
    try:
        if state.number and (always or _is_behind(root)):
            write_shell_file(Layout(root, state), root)
    except (OSError, duckdb.Error) as error:
        warnings.warn(
            f"store.duckdb shows an older state until the next command that writes: {in_one_line(error)}", stacklevel=2
        )


def _is_behind(root: Path) -> bool:
    try:
        return (root / SHELL_FILE).stat().st_mtime_ns < (root / STATE_FILE).stat().st_mtime_ns
    except FileNotFoundError:
        return True


def check_room(root: Path) -> None:
    """Refuse a folder that neither is a store nor can become one; nothing is created.

    Raises
    ------
    InputError
        When ``root`` is a file, or a folder that holds other files.
    """
    if root.exists() and not root.is_dir():
        raise InputError(f"{str(root)!r} is a file: the store needs a folder, name another with --store")
    odd = sorted({letter for letter in str(root.resolve()) if letter in "\\?" or not letter.isprintable()})
    if odd:
        raise InputError(f"{str(root)!r} holds {odd[0]!r}, which DuckDB can't have in a path: name another folder")
    if not root.exists() or (root / STATE_FILE).is_file():
        return
    tables = {name for recipe in BUILT_IN for name in own_names(recipe).tables}
    ours = {LOCK_FILE, HOLDER_FILE, *tables, "cache", "manifests", "staging"}
    strangers = sorted(
        entry.name for entry in root.iterdir() if entry.name not in ours and not entry.name.endswith(".tmp")
    )
    if strangers:
        raise InputError(
            f"{str(root)!r} is not a store and holds other files ({', '.join(strangers[:3])}): name an empty folder"
        )


def _read_or_empty(root: Path) -> State:
    try:
        return read_state(root)
    except StoreNotFound:
        return State()
