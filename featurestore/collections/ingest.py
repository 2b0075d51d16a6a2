"""Reads metadata and images into a store, and scans the images again; the collection type has the rules for both."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.recipe import GENERAL, Collection, Setting, find_recipe, recipe_named, recipe_names
from featurestore.catalog.writer import check_room, open_writer
from featurestore.collections.known import SOURCES, kept, rows_of, sources_of, state_or_none
from featurestore.collections.listing import list_images
from featurestore.collections.object_folder import resolved
from featurestore.collections.reading import Numbered, Reading, Request, Rows
from featurestore.collections.report import FoundImages, IngestReport, report_of
from featurestore.collections.scan import Scan, in_order, keep, scan_images
from featurestore.collections.shards import attached, open_shards
from featurestore.collections.stored_paths import to_stored
from featurestore.errors import Conflict, InputError, IntegrityError, StoreError, reason
from featurestore.events import went_wrong
from featurestore.progress import Progress
from featurestore.storage.layout import Layout
from featurestore.storage.lock import replaced
from featurestore.storage.objects import LocalObjects, Place, objects_of
from featurestore.storage.parts import check_once, read_part
from featurestore.storage.schemas import IMAGES
from featurestore.storage.state import State, read_state

CACHE = "cache"
# Reasons for which images are left out that are logged.
REASONS = 20
# A setting of every collection type, beside `SOURCES`: whether links were followed.
FOLLOW = "follow_links"


def ingest(
    place: Place,
    request: Request,
    *,
    recipe: str | None = None,
    dry_run: bool = False,
    wait_seconds: float = 0.0,
    on_progress: Progress | None = None,
) -> IngestReport:
    """See `FeatureStore.ingest`."""
    objects = objects_of(place)
    root = objects.root
    check_room(objects)
    known = state_or_none(objects)
    kind = _choose(request, recipe, known)
    if known is not None:
        _check_kind(known, kind, objects.address)
    folders = tuple(dict.fromkeys(map(resolved, request.images or sources_of(known))))
    request = replace(request, images=folders)
    if known is not None and request.metadata is None:
        request = replace(request, kept=kept(Layout(objects, known), kind))
    # Everything is read before the store is created: a typo must not leave an empty store behind.
    reading: Reading = _function(kind.reader)(request)
    listing = list_images(folders, nested=reading.nested, follow_links=request.follow_links)
    reading.check(listing)
    shards = open_shards(listing)
    scan = scan_images(listing, shards, cache=root / CACHE if root.is_dir() else None, on_progress=on_progress)
    said = attached(scan.table, shards)
    before = IMAGES.empty_table() if known is None else images_of(Layout(objects, known))
    read = _Read.of(kind, reading, scan, said, before)
    with (
        TemporaryDirectory() if dry_run else nullcontext() as trial,
        open_writer(
            Path(trial) if trial else objects, create=True, wait_seconds=wait_seconds, purpose="ingest"
        ) as writer,
    ):
        if not dry_run:
            _check_kind(writer.state, kind, objects.address)
            if request.kept is not None and known is not None:
                _check_kept(writer.state, known, kind)
            keep(scan, root / CACHE)
            tables = {} if known is None else known.tables
            if writer.state.tables.get("images") != tables.get("images"):  # another program has written
                read = _Read.of(kind, reading, scan, said, images_of(writer.layout))
        first = writer.state.id
        with writer.commit() as commit:
            commit.set_collection(kind, _settings(request, read.rows))
            commit.replace(kind.table, read.rows.table)
            commit.replace("images", read.images)
        changed = writer.state.id != first
        found = FoundImages(scan, read.images, read.renamed, listing.links)
        if changed and not dry_run:
            _log_broken(objects.address, read.images)
        return report_of(writer, kind, found, read.rows, changed=changed, dry_run=dry_run)


def _log_broken(store: str, images: pa.Table) -> None:
    """Log how many images can't be used, for each of the most frequent reasons."""
    reasons = images.filter(pc.equal(images["status"], "broken"))["reason"].to_pylist()
    for found, number in Counter(reasons).most_common(REASONS):
        facts = {"store": store, "images": number, "reason": str(found)}
        went_wrong("images left out", "%(images)d images are left out: %(reason)s", facts)


def create_store(place: Place, *, wait_seconds: float = 0.0) -> None:
    """Create a store without any image, for vectors that were computed elsewhere."""
    kind = _choose(Request(), None, None)
    with open_writer(place, create=True, wait_seconds=wait_seconds, purpose="create") as writer:
        if not writer.state.number:
            with suppress(Conflict), writer.commit() as commit:  # then another writer has created one
                commit.set_collection(kind, {})
                commit.replace("images", IMAGES.empty_table())


@dataclass(frozen=True)
class _Read:
    """The images with their ids, in order, and the rows of the metadata."""

    images: pa.Table
    renamed: Mapping[str, str]
    rows: Rows

    @classmethod
    def of(cls, kind: Collection, reading: Reading, scan: Scan, said: pa.Table | None, before: pa.Table) -> "_Read":
        scanned = pa.concat_tables([scan.table, _without_file(reading.names)])
        numbered: Numbered = _function(kind.numbering)(scanned, before)
        _check_usable(numbered.images, len(scan.table))
        images = in_order(numbered.images)
        return cls(images, numbered.renamed, reading.rows(images, said))


def _check_usable(images: pa.Table, found: int) -> None:
    """Refuse a collection whose images were all refused: it is another folder than was meant, or a rule in the way."""
    status = images["status"]
    if found and not pc.any(pc.equal(status, "ok")).as_py():
        first = images.filter(pc.equal(status, "broken")).slice(0, 1).to_pylist()[0]
        raise InputError(
            f"none of the {found:,} images can be used, the first is {first['ImgName']!r}: {first['reason']}"
        )


def sync_images(
    place: Place, *, wait_seconds: float = 0.0, purpose: str = "", on_progress: Progress | None = None
) -> None:
    """Scan the folders of the last ingest again and commit changes; the store is locked only for the commit.

    Raises
    ------
    InputError
        When one of the folders no longer exists.
    StoreLocked
        When there is something to commit, and another process is writing and did not finish in time.
    """
    while not _synced(objects_of(place), wait_seconds=wait_seconds, purpose=purpose, on_progress=on_progress):
        pass  # another ingest was committed meanwhile: scan again


def _synced(objects: LocalObjects, *, wait_seconds: float, purpose: str, on_progress: Progress | None) -> bool:
    """Scan the folders once; False if the table `images` changed meanwhile, so that nothing was committed."""
    layout = Layout(objects, read_state(objects))
    state, root = layout.state, objects.root
    folders = sources_of(state)
    if not folders:
        return True
    kind = recipe_named(state.collection)
    before = images_of(layout)
    follow = state.settings.get(FOLLOW) == "yes"
    request = Request(folders, settings=state.settings, follow_links=follow, stored=rows_of(layout, kind))
    reading: Reading = _function(kind.reader)(request)
    listing = list_images(folders, nested=reading.nested, follow_links=follow)
    shards = open_shards(listing)
    scan = scan_images(listing, shards, cache=root / CACHE, on_progress=on_progress)
    after = in_order(_function(kind.numbering)(scan.table, before).images)
    if scan.seen is None and after.equals(before):
        return True
    with open_writer(objects, wait_seconds=wait_seconds, purpose=purpose) as writer:
        if writer.state.store != state.store:
            raise replaced(objects.address)
        now = writer.state.tables  # what another program has changed must not come back
        if any(now.get(table) != state.tables.get(table) for table in ("images", kind.table)):
            return False
        keep(scan, root / CACHE)
        if not after.equals(before):
            try:
                with writer.commit() as commit:
                    rows = reading.rows(after, attached(scan.table, shards))
                    commit.replace(kind.table, rows.table)
                    commit.replace("images", after)
            except Conflict:
                return False
    return True


def _images_in(path: Path) -> pa.Table:
    """The rows of one part of `images`; raises `IntegrityError` where it holds others than this package writes."""
    try:
        return read_part(path).cast(IMAGES)
    except (ValueError, pa.ArrowException) as error:
        raise IntegrityError(f"{path} is no table of images ({reason(error)}): restore it from a copy") from error


def images_of(layout: Layout) -> pa.Table:
    """The table `images` of a state, ordered by id, then name."""
    parts = layout.parts("images")
    layout.fetch(parts)
    for part in parts:  # verify now: rewritten rows would get a valid checksum
        check_once(part, layout.root)
    tables = [_images_in(layout.root / part.path) for part in parts]
    images = in_order(pa.concat_tables([IMAGES.empty_table(), *tables]))
    del tables
    pa.default_memory_pool().release_unused()  # memory used for decoding, several times the size of the table
    return images


def _without_file(names: Sequence[str]) -> pa.Table:
    """Rows of `images` for images that are known from the metadata alone."""
    blank = dict.fromkeys(("content_hash", "source", "file", "member"), "") | {"size_bytes": 0, "synthetic": False}
    rows = [{**blank, "ImgName": name, "status": "external"} for name in names]
    return pa.Table.from_pylist(rows, schema=IMAGES)


def _choose(request: Request, name: str | None, known: State | None) -> Collection:
    """The collection type that was named, that of the store, or the one that recognises the metadata."""
    if name is not None:
        return recipe_named(name)
    if known is not None:
        return recipe_named(known.collection)
    if request.metadata is not None:
        for kind in filter(None, map(find_recipe, recipe_names())):
            if kind.recognises and _function(kind.recognises)(request.metadata, request.columns):
                return kind
    return recipe_named(GENERAL)


def _check_kind(state: State, kind: Collection, address: str) -> None:
    if state.number and state.collection != kind.name:
        raise InputError(
            f"the store {address!r} holds a collection of the type {state.collection!r}, got {kind.name!r}: name "
            "another folder with --store"
        )


def _check_kept(now: State, known: State, kind: Collection) -> None:
    """Refuse to write metadata that was taken from a state which another program has replaced since."""
    if now.tables.get(kind.table) != known.tables.get(kind.table):
        raise StoreError("another program has changed the metadata meanwhile: run the command again")


def _function(reference: str) -> Any:
    """The function ``module:name``."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)


def _settings(request: Request, rows: Rows) -> dict[str, Setting]:
    read: dict[str, Setting] = {SOURCES: [to_stored(str(folder)) for folder in request.images]}
    return {**rows.settings, **request.settings, **read, FOLLOW: "yes" if request.follow_links else "no"}
