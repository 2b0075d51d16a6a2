"""Commit: changes to tables that become visible together; writes parts and manifests, then swaps the state."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.catalog.recipe import Collection, Setting, own_names
from featurestore.errors import IntegrityError
from featurestore.files import write_atomic
from featurestore.storage.layout import Layout
from featurestore.storage.manifest import Manifest, write_manifests
from featurestore.storage.names import check_names, inside, revision_of, well_named
from featurestore.storage.parts import Part, check_part, read_part, write_part
from featurestore.storage.schemas import CORE_TABLES
from featurestore.storage.state import STATE_FILE, State

# If a table has more than this many parts with fewer than this many rows, they are merged: each is a file to open.
MANY_PARTS, SMALL_ROWS = 64, 4096


class Commit:
    """Changes that start from one state of the store in ``root``.

    Parts are written immediately, but no reader sees them until `publish` has swapped the state. ``check`` is
    `Writer.check`.
    """

    def __init__(self, layout: Layout, check: Callable[[], None]) -> None:
        self.root = layout.root
        self.state = layout.state
        self._layout = layout
        self._check = check
        self._manifests: dict[str, Manifest] = {}
        self._new: list[Part] = []
        self._gone: set[str] = set()
        self._revisions: dict[str, str] = dict(layout.state.revisions)
        self._collection = layout.state.collection
        self._settings: dict[str, Setting] = dict(layout.state.settings)
        self._views: dict[str, str] = dict(layout.state.views)

    def parts(self, table: str) -> list[Part]:
        """The parts of ``table`` after the changes made so far."""
        if table in self._manifests:
            return list(self._manifests[table].parts)
        return [] if table in self._gone else self._layout.parts(table)

    def rows(self, table: str) -> pa.Table:
        """All rows of ``table``, one of the store's own, with the changes made so far; raises as `check_part`."""
        parts = [read_whole(self.root, part) for part in self.parts(table)]
        return pa.concat_tables([CORE_TABLES[table].empty_table(), *parts])

    def replace(self, table: str, rows: pa.Table) -> None:
        """Replace all rows of ``table`` by ``rows``; nothing is written if it holds exactly these and is undamaged."""
        current = self._current_or_none(table)
        if current is not None and len(current) == 1 and _holds(self.root, current[0], rows):
            return
        part = self._write(table, rows)
        self._set(table, _schema_of(self.root, part), [part])

    def append(self, table: str, rows: pa.Table) -> None:
        """Add ``rows`` to ``table``, which is created on first use."""
        if table not in self.state.tables:  # fail before anything is written
            self._check_names([*self.state.tables, table], self.state.revisions)
        self.add(table, [self._write(table, rows)])

    def add(self, table: str, parts: Sequence[Part]) -> None:
        """Add ``parts``, which are already in the store, to ``table``, which is created on first use."""
        schema = _schema_of(self.root, parts[0])
        self._new += parts
        self._set(table, schema, [*self.parts(table), *parts])

    def swap(self, table: str, *, add: Sequence[Part], remove: Sequence[Part]) -> None:
        """Replace parts by others that are already written and hold the same rows."""
        left = self.parts(table)
        for part in remove:
            left.remove(part)
        self._new += add
        self._set(table, self._schema(table), [*left, *add])

    def drop(self, table: str, parts: Sequence[Part]) -> None:
        """Remove ``parts`` and their rows from ``table``."""
        self.swap(table, add=(), remove=parts)

    def remove_table(self, table: str) -> None:
        """Remove ``table`` from the state; its parts stay on disk until `gc`."""
        self._manifests.pop(table, None)
        self._gone.add(table)

    def rename_table(self, table: str, name: str) -> None:
        """Rename ``table`` to ``name``; its parts stay where they are."""
        self._set(name, self._schema(table), self.parts(table))
        self.remove_table(table)

    def set_revision(self, backbone: str, revision: str | None) -> None:
        """Make the views of ``backbone`` show ``revision``; None removes its views."""
        if revision is None:
            self._revisions.pop(backbone, None)
        else:
            self._revisions[backbone] = revision

    def set_collection(self, recipe: Collection, settings: Mapping[str, Setting]) -> None:
        """Make the store one of this collection type, and change its ``settings``; the others are kept."""
        kept = self._settings if recipe.name == self._collection else {}
        self._settings = {**recipe.settings, **kept, **settings}
        self._collection = recipe.name

    def set_view(self, name: str, query: str | None) -> None:
        """Define the user's view ``name`` by ``query``, which must have been checked; None removes the view."""
        if query is None:
            self._views.pop(name, None)
        else:
            self._views[name] = query

    def publish(self) -> State:
        """Write the manifests, then swap the state; a commit without changes does not swap it.

        Raises
        ------
        InputError
            When a new table, backbone or view has a name that is in use; nothing is then changed.
        StoreError
            When the store is no longer the one that this commit started from.
        IntegrityError
            When a part that was added no longer exists.
        """
        self._check()
        tables = {table: name for table, name in self.state.tables.items() if table not in self._gone}
        self._check_names([*tables, *self._manifests], self._revisions)
        for part in self._new:
            if not (self.root / part.path).is_file():
                raise IntegrityError(
                    f"{self.root / part.path} was removed before it was published, and nothing of this commit is "
                    "stored: run the command again"
                )
        merged = {table: self._merged(table, manifest) for table, manifest in self._manifests.items()}
        tables |= write_manifests(self.root, merged)
        changes: dict[str, Mapping[str, object]] = {
            "tables": tables,
            "revisions": self._revisions,
            "settings": self._settings,
            "views": self._views,
        }
        same = self._collection == self.state.collection
        if same and all(dict(getattr(self.state, name)) == value for name, value in changes.items()):
            return self.state
        state = self.state.next(collection=self._collection, **changes)
        self._check()
        write_atomic(self.root / STATE_FILE, state.to_record())
        return state

    def _merged(self, table: str, manifest: Manifest) -> Manifest:
        """``manifest`` with many small parts merged into one; parts of embeddings are merged by `compact` only."""
        small = [part for part in manifest.parts if part.rows < SMALL_ROWS]
        if revision_of(table) is not None or len(small) <= MANY_PARTS:
            return manifest
        try:
            rows = pa.concat_tables([read_whole(self.root, part) for part in small])
        except (IntegrityError, OSError):  # damaged parts stay as they are, for `verify` to report
            return manifest
        left = [part for part in manifest.parts if part.rows >= SMALL_ROWS]
        return replace(manifest, parts=(*left, self._write(table, rows)))

    def _write(self, table: str, rows: pa.Table) -> Part:
        inside(self.root, self.root / table)
        part = write_part(rows, self.root, table)
        self._new.append(part)
        return part

    def _set(self, table: str, schema: pa.Schema, parts: Sequence[Part]) -> None:
        self._gone.discard(table)
        self._manifests[table] = Manifest(schema, tuple(parts))

    def _schema(self, table: str) -> pa.Schema:
        manifest = self._manifests.get(table) or self._layout.manifest(table)
        return self._layout.schema(table) if manifest is None else manifest.schema

    def _current_or_none(self, table: str) -> list[Part] | None:
        """The current parts of a table that is about to be replaced; None when its manifest is damaged."""
        try:
            return self.parts(table)
        except IntegrityError:
            return None

    def _check_names(self, tables: Sequence[str], revisions: Mapping[str, str]) -> None:
        """Refuse a name that is in use; an invalid one, from a state edited by hand, must not block the next commit."""
        own = own_names(self._collection)
        views = well_named(self.state.tables, self.state.revisions, self._views, own=own)
        check_names(tables, revisions, views, own=own)


def read_whole(root: Path, part: Part, columns: list[str] | None = None) -> pa.Table:
    """The rows of ``part``, after its checksum was verified; raises as `check_part`."""
    check_part(part, root)
    return read_part(root / part.path, columns)


def _schema_of(root: Path, part: Part) -> pa.Schema:
    return pq.read_schema(root / part.path).remove_metadata()


def _holds(root: Path, part: Part, rows: pa.Table) -> bool:
    """Whether ``part`` is undamaged and holds exactly ``rows``; comparing takes half the time of writing."""
    try:
        return bool(read_whole(root, part).equals(rows))
    except (IntegrityError, OSError):  # then it is rewritten, which repairs it
        return False
