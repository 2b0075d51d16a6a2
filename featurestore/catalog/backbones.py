"""Removes a backbone of a store with all its revisions, or renames it; it computes no vectors."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.commit import Commit
from featurestore.catalog.views import failing
from featurestore.catalog.writer import Writer, open_writer
from featurestore.errors import InputError, IntegrityError
from featurestore.storage.layout import Layout
from featurestore.storage.names import check_identifier, embeddings_key, nearest
from featurestore.storage.objects import Place
from featurestore.storage.state import State, read_state

# Tables whose rows refer to a backbone by name.
DESCRIBING = ("backbones", "extractions")


def remove(place: Place, name: str, *, wait_seconds: float = 0.0) -> int:
    """Remove the backbone ``name`` with all its revisions and return the number of vectors removed.

    Snapshots keep their vectors; the next `gc` deletes those that no snapshot refers to.

    Raises
    ------
    InputError
        When there is no such backbone, or a user's view depends on it.
    IntegrityError
        When a part that must be rewritten is damaged.
    """
    read_state(place)
    with open_writer(place, wait_seconds=wait_seconds, purpose=f"remove backbone {name}") as writer:
        tables = [embeddings_key(name, revision) for revision in _existing(writer.layout, name)]
        rows = sum(_count(writer.layout, table) for table in tables)
        _refuse_failing_views(writer, name, _without(writer.layout, name), "removed")
        with writer.commit() as commit:
            for table in tables:
                commit.remove_table(table)
            commit.set_revision(name, None)
            for table in DESCRIBING:
                _change_rows(commit, table, name, lambda found, of_it: found.filter(pc.invert(of_it)))
    return rows


def rename(place: Place, old: str, new: str, *, wait_seconds: float = 0.0) -> None:
    """Rename the backbone ``old`` to ``new``; no vector is rewritten or has to be computed again.

    Snapshots keep the old name.

    Raises
    ------
    InputError
        When there is no ``old``, ``new`` is in use or not a lower-case identifier, or a user's view depends on ``old``.
    IntegrityError
        When a part that must be rewritten is damaged.
    """
    check_identifier(new, "backbone")
    read_state(place)
    with open_writer(place, wait_seconds=wait_seconds, purpose=f"rename backbone {old}") as writer:
        tables = {
            embeddings_key(old, revision): embeddings_key(new, revision) for revision in _existing(writer.layout, old)
        }
        if _revisions(writer.layout, new):
            raise InputError(f"there is a backbone {new!r} already: use another name, or remove that backbone first")
        writer.check_backbone(new)
        trial = _without(writer.layout, old)
        revisions = {new: writer.state.revisions[old]} if old in writer.state.revisions else {}
        moved = {table: writer.state.tables[before] for before, table in tables.items()}
        trial = trial.next(tables={**trial.tables, **moved}, revisions={**trial.revisions, **revisions})
        _refuse_failing_views(writer, old, trial, "renamed")
        with writer.commit() as commit:
            for before, table in tables.items():
                commit.rename_table(before, table)
            commit.set_revision(old, None)
            for backbone, revision in revisions.items():
                commit.set_revision(backbone, revision)
            for table in DESCRIBING:
                _change_rows(commit, table, old, lambda found, of_it: _named(found, of_it, new))


def _revisions(layout: Layout, name: str) -> list[str]:
    """All revisions of the backbone ``name``, including those that no view shows."""
    return [revision for backbone, revision in layout.revisions() if backbone == name]


def _existing(layout: Layout, name: str) -> list[str]:
    revisions = _revisions(layout, name)
    if not revisions:
        known = {backbone for backbone, _ in layout.revisions()}
        raise InputError(f"the store has no backbone {name!r} ({nearest(name, known)})")
    return revisions


def _count(layout: Layout, table: str) -> int:
    """The number of rows of ``table``; 0 where its manifest is damaged, since the table can still be removed."""
    try:
        return sum(part.rows for part in layout.parts(table))
    except IntegrityError:
        return 0


def _without(layout: Layout, name: str) -> State:
    state, gone = layout.state, {embeddings_key(name, revision) for revision in _revisions(layout, name)}
    return state.next(
        tables={table: manifest for table, manifest in state.tables.items() if table not in gone},
        revisions={backbone: revision for backbone, revision in state.revisions.items() if backbone != name},
    )


def _refuse_failing_views(writer: Writer, name: str, trial: State, what: str) -> None:
    """Refuse a change that would make a working view fail."""
    if not writer.state.views:
        return
    before, after = failing(writer.objects, writer.state), failing(writer.objects, trial)
    for view, failure in after.items():
        if view not in before:
            raise InputError(
                f"the backbone {name!r} can't be {what}, the view {view!r} depends on it ({failure.reason}): remove "
                "the view first"
            )


def _change_rows(commit: Commit, table: str, name: str, change: Callable[[pa.Table, pa.Array], pa.Table]) -> None:
    """Rewrite ``table`` as ``change`` returns it, given its rows and a mask of those of the backbone ``name``."""
    found = commit.rows(table)
    of_it = pc.equal(found["backbone"], name)
    if pc.any(of_it).as_py():
        commit.replace(table, change(found, of_it).combine_chunks())


def _named(rows: pa.Table, of_it: pa.Array, name: str) -> pa.Table:
    place = rows.schema.get_field_index("backbone")
    return rows.set_column(place, rows.schema.field(place), pc.if_else(of_it, name, rows["backbone"]))
