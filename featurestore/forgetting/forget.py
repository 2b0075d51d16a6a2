"""Removes images from everything that a store holds, in steps that can be stopped anywhere and done again."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from featurestore.catalog.recipe import find_recipe, recipe_named
from featurestore.catalog.records import trusted_records
from featurestore.catalog.writer import Writer, open_writer, renew_shell_file
from featurestore.collections.address import ImageAddress
from featurestore.errors import Conflict, FeatureStoreError, InputError
from featurestore.features.selection import named
from featurestore.forgetting.images import WantedImages, find_images
from featurestore.forgetting.leftovers import check_pending, clean_caches, lock_runs, remove_unnamed, unnamed_parts
from featurestore.forgetting.mentions import said_in_damaged, said_in_records, said_in_tables, titles_of
from featurestore.forgetting.rows import ids_in, naming_columns
from featurestore.forgetting.sweep import Sweep, rewritten_tables, sweep, written_rest
from featurestore.progress import Progress
from featurestore.storage.names import revision_of
from featurestore.storage.objects import LocalObjects, Place, objects_of
from featurestore.storage.parts import Part
from featurestore.storage.records import RECORD_BYTES
from featurestore.storage.snapshot import parse_snapshot, snapshot_names, snapshot_path, snapshot_record
from featurestore.storage.state import STATE_FILE, State, read_state


@dataclass(frozen=True)
class ForgetReport:
    """What was forgotten, or would be.

    Parameters
    ----------
    ids
        The images.
    rows
        For each table of the current state how many rows were removed; vectors by the name of their backbone.
    snapshots
        For each snapshot that was changed how many rows were removed from it.
    caches
        Files of the scan's cache, of staged vectors and of results that wait from which images were removed.
    files
        Files that no record refers to any more, and that were removed.
    same_bytes
        Other images with the bytes of one that was forgotten: they stay, and so do their vectors.
    still_there
        Files of images that are still where they were read: the next `ingest` or `embed` reads them again.
    mentions
        What may still name an image in words, a sentence each.
    """

    ids: list[int]
    rows: Mapping[str, int] = field(default_factory=dict)
    snapshots: Mapping[str, int] = field(default_factory=dict)
    caches: int = 0
    files: int = 0
    same_bytes: list[int] = field(default_factory=list)
    still_there: list[str] = field(default_factory=list)
    mentions: list[str] = field(default_factory=list)


def forget(
    place: Place,
    ids: NDArray[Any],
    *,
    dry_run: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> ForgetReport:
    """See `FeatureStore.forget`.

    What can be made anew goes first, then the images leave each snapshot and, last of the records, the current state;
    only then files are removed that nothing refers to. Wherever it is stopped, each state is whole, and a second run
    finds what the first has left.
    """
    if not len(ids):
        raise InputError("got no ImgId: name the images that the store is to forget")
    objects = objects_of(place)
    read_state(objects)
    with open_writer(objects, wait_seconds=wait_seconds, purpose="forget") as writer, ExitStack() as stack:
        lock_runs(objects.root, stack)
        check_pending(objects.root)
        found = _look(writer, ids.tolist(), on_progress)
        return found.report if dry_run else _remove(writer, found)


@dataclass(frozen=True)
class _ToForget:
    """What is to be removed."""

    wanted: WantedImages
    swept: Sweep
    report: ForgetReport


def _look(writer: Writer, ids: list[int], on_progress: Progress | None) -> _ToForget:
    """Find all rows of the images; nothing is changed.

    Raises
    ------
    InputError
        When nothing of one of the ids is found anywhere, or the collection type is not installed.
    IntegrityError
        When a record, or a part that can have such rows, is missing or damaged.
    """
    objects = writer.objects
    states = {**trusted_records(objects).states, STATE_FILE: writer.state}
    for state in states.values():
        recipe_named(state.collection)  # else it would be unknown which rows of the metadata are of an image
    wanted = find_images(objects, states, writer.state, ids)
    swept = sweep(objects, states, wanted, on_progress=on_progress)
    _refuse_unknown(objects, writer.state, wanted, swept)
    titles = titles_of(writer.layout, wanted)
    mentions = [
        *said_in_records(states, wanted, titles),
        *said_in_tables(writer.layout, wanted),
        *(said_in_damaged(objects.root, wanted, titles) if objects.in_place else ()),
    ]
    counts: Counter[str] = Counter()
    for table, rows in swept.tables[STATE_FILE].items():
        key = revision_of(table)
        counts[table if key is None else f"embeddings_{key[0]}"] += rows
    snapshots = {path: sum(tables.values()) for path, tables in swept.tables.items() if path != STATE_FILE}
    report = ForgetReport(
        ids=wanted.ids.to_pylist(),
        rows=dict(sorted(counts.items())),
        snapshots={Path(path).stem: rows for path, rows in sorted(snapshots.items()) if rows},
        same_bytes=list(wanted.twins),
        still_there=list(_still_there(wanted)),
        mentions=mentions,
    )
    return _ToForget(wanted, swept, report)


def _refuse_unknown(objects: LocalObjects, state: State, wanted: WantedImages, swept: Sweep) -> None:
    """Refuse ids of which nothing is found, not even in a file that an interrupted run has left."""
    unknown = set(wanted.ids.to_pylist()) - swept.ids - wanted.numbered
    if not unknown:
        return
    recipe = find_recipe(state.collection)
    for name, rows in unnamed_parts(objects, trusted_records(objects).referenced):
        if rows is not None:
            table = name.partition("/")[0]
            unknown -= ids_in(rows, naming_columns(table, rows.schema, recipe), wanted)
    if unknown:
        raise InputError(
            f"the store {objects.address!r} has nothing of ImgId {named(sorted(unknown))}: nothing was forgotten; see "
            '`featurestore sql "SELECT ImgId FROM images"`'
        )


def _still_there(wanted: WantedImages) -> Iterator[str]:
    """The addresses of images whose files can be read by the next ingest; of an object store all are said to be."""
    for source, file, member in wanted.now:
        try:
            address = ImageAddress.of(source, file, member)
        except (FeatureStoreError, ValueError):  # a stranger's store; an extra that is not installed
            yield f"{source}/{file}"
            continue
        if not isinstance(address.path, Path) or address.path.exists():
            yield str(address)


def _remove(writer: Writer, found: _ToForget) -> ForgetReport:
    """Write what is left of each part, and let every record refer to that; then remove the other files."""
    objects, wanted, parts = writer.objects, found.wanted, found.swept.parts
    recipe, at = find_recipe(writer.state.collection), _now()
    # Where the number is part of the name, a row with it would be a trace of the name; else it must stay taken.
    keep_numbers = recipe is None or not recipe.key_number
    others = written_rest(objects, parts.values(), wanted, keep_numbers=keep_numbers)
    caches = clean_caches(objects, wanted)
    _change_snapshots(objects, others, at)
    if found.swept.tables[STATE_FILE]:
        with writer.commit() as commit:
            for table in found.swept.tables[STATE_FILE]:
                commit.exchange(table, {path: part for path, part in others.items() if parts[path].table == table})
            commit.set_forgotten(at)
    _change_snapshots(objects, others, _now())  # on an object store one may have been made meanwhile
    files = remove_unnamed(objects, list(others), wanted, recipe=recipe)
    if objects.in_place:
        renew_shell_file(objects.root, writer.state, always=True)
    return replace(found.report, caches=caches, files=files)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _change_snapshots(objects: LocalObjects, others: Mapping[str, Part | None], at: str) -> None:
    """Let each snapshot refer to the other parts, with its name and its time, and say that it was changed.

    Raises
    ------
    Conflict
        When another writer has replaced it meanwhile.
    """
    for name in snapshot_names(objects):
        path = snapshot_path(name)
        content, tag = objects.load(path, limit=RECORD_BYTES)
        info, state = parse_snapshot(content, name, objects.where(path))
        tables = rewritten_tables(objects, state, others)
        if tables:
            changed = replace(state, tables={**state.tables, **tables}, forgotten_at=at)
            if objects.swap(path, snapshot_record(changed, name, created_at=info.created_at), tag) is None:
                raise Conflict(f"another writer has changed the snapshot {name!r} meanwhile: run the command again")
