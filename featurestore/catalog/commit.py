"""Commit: changes to tables that become visible together; writes parts and manifests, then swaps the state."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from featurestore.catalog.recipe import Collection, Setting, own_names
from featurestore.catalog.swap import Swap
from featurestore.errors import Conflict, IntegrityError, StoreError
from featurestore.storage.layout import Layout
from featurestore.storage.lock import replaced
from featurestore.storage.manifest import Manifest, manifest_path, write_manifests
from featurestore.storage.names import check_names, inside, revision_of, well_named
from featurestore.storage.objects import Place, objects_of
from featurestore.storage.parts import Part, check_part, read_part, write_part
from featurestore.storage.schemas import CORE_TABLES
from featurestore.storage.state import State

# If a table has more than this many parts with fewer than this many rows, they are merged: each is a file to open.
MANY_PARTS, SMALL_ROWS = 64, 4096
# How often a commit is applied anew because another one was first: each time, somebody got on.
TURNS = 100


class Commit:
    """Changes that start from one state of a store.

    Parts are written immediately, but no reader sees them until `publish` has swapped the state. Where others may
    commit meanwhile, it is applied to their state if they changed nothing that it rests on: the tables that it read,
    replaced or removed, and the settings, revisions and views that it sets. Rows that are added to a table rest on
    nothing but its columns, except vectors, whose keys must be compared with those that are there.
    """

    def __init__(self, layout: Layout, swap: Swap) -> None:
        self.objects = layout.objects
        self.root = layout.root
        self.state = layout.state
        self._layout = layout
        self._swap = swap
        self._manifests: dict[str, Manifest] = {}
        self._new: list[Part] = []
        self._gone: set[str] = set()
        self._revisions: dict[str, str | None] = {}
        self._views: dict[str, str | None] = {}
        self._collection: tuple[str, dict[str, Setting]] | None = None
        self._forgotten_at = ""
        # The tables that must not have changed, and the parts that were only added to others.
        self._fixed: set[str] = set()
        self._added: dict[str, list[Part]] = {}

    def parts(self, table: str) -> list[Part]:
        """The parts of ``table`` after the changes made so far."""
        if table in self._manifests:
            return list(self._manifests[table].parts)
        return [] if table in self._gone else self._layout.parts(table)

    def rows(self, table: str) -> pa.Table:
        """All rows of ``table``, one of the store's own, with the changes made so far; raises as `check_part`."""
        self._fixed.add(table)
        parts = [read_whole(self.objects, part) for part in self.parts(table)]
        return pa.concat_tables([CORE_TABLES[table].empty_table(), *parts])

    def replace(self, table: str, rows: pa.Table) -> None:
        """Replace all rows of ``table`` by ``rows``; nothing is written if it holds exactly these and is undamaged."""
        self._fixed.add(table)
        current = self._current_or_none(table)
        if current is not None and len(current) == 1 and _holds(self.objects, current[0], rows):
            return
        part = self._write(table, rows)
        self._set(table, pq.read_schema(self.root / part.path).remove_metadata(), [part])

    def append(self, table: str, rows: pa.Table) -> None:
        """Add ``rows`` to ``table``, which is created on first use."""
        if table not in self.state.tables:  # fail before anything is written
            self._check_names([*self.state.tables, table], self.state.revisions, self.state.collection)
        self.add(table, [self._write(table, rows)])

    def add(self, table: str, parts: Sequence[Part]) -> None:
        """Add ``parts``, which are already in the store, to ``table``, which is created on first use."""
        schema = pq.read_schema(self.root / parts[0].path).remove_metadata()
        self._new += parts
        if revision_of(table) is not None:
            self._fixed.add(table)
        self._added.setdefault(table, []).extend(parts)
        self._set(table, schema, [*self.parts(table), *parts])

    def swap(self, table: str, *, add: Sequence[Part], remove: Sequence[Part]) -> None:
        """Replace parts by others that are already written and hold the same rows."""
        self._fixed.add(table)
        left = self.parts(table)
        for part in remove:
            left.remove(part)
        self._new += add
        self._set(table, self._schema(table), [*left, *add])

    def exchange(self, table: str, others: Mapping[str, Part | None]) -> None:
        """Put other parts, already written, in the place of those with the paths in ``others``; None removes one."""
        self._fixed.add(table)
        parts = [part for old in self.parts(table) if (part := others.get(old.path, old)) is not None]
        self._new += [part for part in others.values() if part in parts]
        self._set(table, self._schema(table), parts)

    def drop(self, table: str, parts: Sequence[Part]) -> None:
        """Remove ``parts`` and their rows from ``table``."""
        self.swap(table, add=(), remove=parts)

    def remove_table(self, table: str) -> None:
        """Remove ``table`` from the state; its parts stay on disk until `gc`."""
        self._fixed.add(table)
        self._manifests.pop(table, None)
        self._gone.add(table)

    def rename_table(self, table: str, name: str) -> None:
        """Rename ``table`` to ``name``; its parts stay where they are."""
        self._fixed |= {table, name}
        self._set(name, self._schema(table), self.parts(table))
        self.remove_table(table)

    def set_revision(self, backbone: str, revision: str | None) -> None:
        """Make the views of ``backbone`` show ``revision``; None removes its views."""
        self._revisions[backbone] = revision

    def set_collection(self, recipe: Collection, settings: Mapping[str, Setting]) -> None:
        """Make the store one of this collection type, and change its ``settings``; the others are kept."""
        kept = self.state.settings if recipe.name == self.state.collection else {}
        self._collection = recipe.name, {**recipe.settings, **kept, **settings}

    def set_view(self, name: str, query: str | None) -> None:
        """Define the user's view ``name`` by ``query``, which must have been checked; None removes the view."""
        self._views[name] = query

    def set_forgotten(self, at: str) -> None:
        """Note in the state that images were removed from it for good at the time ``at``."""
        self._forgotten_at = at

    def publish(self) -> State:
        """Write the manifests, then swap the state; a commit without changes does not swap it.

        Returns
        -------
        The state with these changes, which on an object store others may have followed.

        Raises
        ------
        InputError
            When a new table, backbone or view has a name that is in use; nothing is then changed.
        StoreError
            When the store is no longer the one that this commit started from.
        Conflict
            When another writer has changed what this commit rests on.
        IntegrityError
            When a part that was added no longer exists.
        """
        self._swap.check(self.state)
        sent: set[str] = set()
        for _ in range(TURNS):
            new = self._written(sent)
            state = new if new is self.state else self._swap.put(self.state, new)
            if state is not None:
                return state
            self._apply_to(Layout(self.objects, self._swap.newest()))
        raise StoreError(f"other writers changed {self.objects.address!r} {TURNS} times meanwhile: run it again")

    def _written(self, sent: set[str]) -> State:
        """Write what the state with these changes names, and return it; ``sent`` are the files that are there."""
        tables = {table: name for table, name in self.state.tables.items() if table not in self._gone}
        collection, settings = self._collection or (self.state.collection, self.state.settings)
        revisions = _changed(self.state.revisions, self._revisions)
        self._check_names([*tables, *self._manifests], revisions, collection)
        for part in self._new:
            if not (self.root / part.path).is_file():
                raise IntegrityError(
                    f"{self.root / part.path} was removed before it was published, and nothing of this commit is "
                    "stored: run the command again"
                )
        merged = {table: self._merged(table, manifest) for table, manifest in self._manifests.items()}
        names = write_manifests(self.root, merged)
        files = {part.path for part in self._new} | {manifest_path(name) for name in names.values()}
        self.objects.send(sorted(files - sent))
        sent |= files
        changes: dict[str, Mapping[str, object]] = {
            "tables": tables | names,
            "revisions": revisions,
            "settings": settings,
            "views": _changed(self.state.views, self._views),
        }
        same = collection == self.state.collection
        if same and all(dict(getattr(self.state, name)) == value for name, value in changes.items()):
            return self.state
        forgotten_at = self._forgotten_at or self.state.forgotten_at
        return self.state.next(collection=collection, forgotten_at=forgotten_at, **changes)

    def _apply_to(self, layout: Layout) -> None:
        """Start from the newest state, which another writer has made.

        Raises
        ------
        Conflict
            When that writer has changed what this commit rests on.
        StoreError
            When it is another store.
        """
        old, new = self.state, layout.state
        if old.number and new.store != old.store:
            raise replaced(self.objects.address)
        if table := next((table for table in self._fixed if old.tables.get(table) != new.tables.get(table)), None):
            raise _conflict(f"the table {table!r}")
        if self._collection and (old.collection, old.settings) != (new.collection, new.settings):
            raise _conflict("the settings")
        shown = {backbone for backbone in self._revisions if old.revisions.get(backbone) != new.revisions.get(backbone)}
        if shown or (self._views and old.revisions != new.revisions):
            raise _conflict("the backbones")
        if (self._views or self._revisions) and old.views != new.views:
            raise _conflict("the views")
        self._layout, self.state = layout, new
        for table in self._added.keys() - self._fixed:
            there = layout.manifest(table)
            schema = self._manifests[table].schema
            if there is not None and not there.schema.equals(schema):
                raise _conflict(f"the columns of the table {table!r}")
            parts = () if there is None else there.parts
            self._manifests[table] = Manifest(schema, (*parts, *self._added[table]))

    def _merged(self, table: str, manifest: Manifest) -> Manifest:
        """``manifest`` with many small parts merged into one; parts of embeddings are merged by `compact` only."""
        small = [part for part in manifest.parts if part.rows < SMALL_ROWS]
        if revision_of(table) is not None or len(small) <= MANY_PARTS:
            return manifest
        try:
            rows = pa.concat_tables([read_whole(self.objects, part) for part in small])
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

    def _check_names(self, tables: Sequence[str], revisions: Mapping[str, str], collection: str) -> None:
        """Refuse a name that is in use; an invalid one, from a state edited by hand, must not block the next commit."""
        own, known = own_names(collection), _changed(self.state.views, self._views)
        views = well_named(self.state.tables, self.state.revisions, known, own=own)
        check_names(tables, revisions, views, own=own)


def read_whole(place: Place, part: Part, columns: list[str] | None = None) -> pa.Table:
    """The rows of ``part``, after it was fetched and its checksum verified; raises as `check_part`."""
    objects = objects_of(place)
    for why in objects.fetch([part]).values():
        raise IntegrityError(why)
    check_part(part, objects.root)
    return read_part(objects.root / part.path, columns)


def _changed(there: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """``there`` with ``changes``, where None removes a name."""
    return {name: value for name, value in {**there, **changes}.items() if value is not None}


def _conflict(what: str) -> Conflict:
    return Conflict(f"another writer has changed {what} meanwhile, and nothing was stored: run the command again")


def _holds(place: Place, part: Part, rows: pa.Table) -> bool:
    """Whether ``part`` is undamaged and holds exactly ``rows``; comparing takes half the time of writing."""
    try:
        return bool(read_whole(place, part).equals(rows))
    except (IntegrityError, OSError):  # then it is rewritten, which repairs it
        return False
