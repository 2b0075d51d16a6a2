"""Writer: the right to change a store, with the state that its next commit starts from."""

import itertools
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import duckdb

from featurestore.catalog.commit import Commit
from featurestore.catalog.recipe import BUILT_IN, own_names
from featurestore.catalog.shell_file import SHELL_FILE, write_shell_file
from featurestore.catalog.swap import LockedSwap, Swap, TaggedSwap
from featurestore.errors import InputError, StoreError, in_one_line
from featurestore.events import happened
from featurestore.storage.layout import Layout
from featurestore.storage.lock import HOLDER_FILE, LOCK_FILE, locked
from featurestore.storage.names import check_names, well_named
from featurestore.storage.objects import LocalObjects, Place, objects_of
from featurestore.storage.state import STATE_FILE, State, read_state

# Files of a prefix on an object store that are looked at to find out whether it is free.
LOOKED_AT = 1000


class Writer:
    """The right to write to the store with the files ``objects``; get one from `open_writer`."""

    def __init__(self, objects: LocalObjects, swap: Swap) -> None:
        self.objects = objects
        self.root = objects.root
        self.layout = Layout(objects, swap.newest())
        self._swap = swap

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
        self._swap.check(self.state)

    def renew(self) -> None:
        """Go on from the newest state: on an object store, others write too."""
        self.layout = Layout(self.objects, self._swap.newest())

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
        commit = Commit(self.layout, self._swap)
        yield commit
        state = commit.publish()
        if state is not self.state:
            self.layout = Layout(self.objects, state)
            facts = {"store": self.objects.address, "number": state.number, "state": state.id}
            happened("commit", "commit %(number)d of the store %(store)r", facts)


@contextmanager
def open_writer(
    place: Place, *, create: bool = False, wait_seconds: float = 0.0, purpose: str = "", renew: bool = True
) -> Iterator[Writer]:
    """Open the store in ``place`` for a writer; a folder is locked, so that there is no other one.

    On an object store nothing is locked: others may commit at any time, and a commit that rests on what they changed
    raises Conflict.

    Parameters
    ----------
    place
        The store's folder, or its files.
    create
        Create a new store if ``place`` is empty or does not exist.
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
        When there is no store and ``create`` is False, ``place`` holds other files, or it can't be written.
    """
    objects = objects_of(place)
    root = objects.root
    with writing(objects), ExitStack() as stack:
        if create:
            check_room(objects)
            root.mkdir(parents=True, exist_ok=True)
        elif objects.in_place and not (root / STATE_FILE).is_file():
            read_state(root)
        if not objects.in_place:
            writer = Writer(objects, TaggedSwap(objects))
            if not (create or writer.state.number):
                read_state(objects)  # raises
            yield writer
            return
        is_locked = stack.enter_context(locked(root, wait_seconds=wait_seconds, purpose=purpose))
        writer = Writer(objects, LockedSwap(root, is_locked))
        try:
            yield writer
        finally:
            with suppress(StoreError):  # the folder now holds another store: leave that one alone
                writer.check()
                if renew:
                    renew_shell_file(root, writer.state)


@contextmanager
def writing(place: Place) -> Iterator[None]:
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
        objects = objects_of(place)
        which, remedy = (
            ("store", "make the folder writable") if objects.in_place else ("cache", "set FEATURESTORE_CACHE")
        )
        raise StoreError(
            f"the {which} {str(objects.root)!r} can't be written ({error.strerror or in_one_line(error)}): earlier "
            f"commits are safe; free space or {remedy}, and run the command again"
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


def check_room(place: Place) -> None:
    """Refuse a folder or a prefix that neither is a store nor can become one; nothing is created.

    Raises
    ------
    InputError
        When ``place`` is a file, or holds other files.
    """
    objects = objects_of(place)
    root = objects.root
    if objects.in_place and root.exists() and not root.is_dir():
        raise InputError(f"{str(root)!r} is a file: the store needs a folder, name another with --store")
    odd = sorted({letter for letter in root.resolve().as_posix() if letter in "\\?" or not letter.isprintable()})
    if odd:
        raise InputError(f"{str(root)!r} holds {odd[0]!r}, which DuckDB can't have in a path: name another folder")
    tables = {name for recipe in BUILT_IN for name in own_names(recipe).tables}
    ours = {LOCK_FILE, HOLDER_FILE, *tables, "cache", "manifests", "staging"}
    there = _top_names(objects)
    strangers = sorted(name for name in there if name not in ours and not name.endswith(".tmp"))
    if strangers and STATE_FILE not in there:
        raise InputError(
            f"{objects.address!r} is not a store and holds other files ({', '.join(strangers[:3])}): name an empty "
            "folder"
        )


def _top_names(objects: LocalObjects) -> set[str]:
    """The names at the top of the store: all of a folder, of a prefix those of the first files."""
    if objects.in_place:
        return {entry.name for entry in objects.root.iterdir()} if objects.root.exists() else set()
    if objects.entry(STATE_FILE) is not None:
        return {STATE_FILE}
    return {entry.name.split("/")[0] for entry in itertools.islice(objects.entries(), LOOKED_AT)}
